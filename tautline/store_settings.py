"""The part of the settings that says what is kept, and where: the database, and the directories that are written to.

`Settings` has these variables among its own, and is read, checked and shown as one.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from tautline.documented import Documented
from tautline.openai_settings import OpenAISettings
from tautline.setting_types import Switch


class StoreSettings(OpenAISettings, frozen=True, kw_only=True, rename="upper"):
    """What DATABASE_DOCUMENTED and FILES_DOCUMENTED describe, checked. It continues OpenAISettings, because structs
    have one parent.
    """

    # SQLite in memory would be another database for each connection.
    database_url: (
        Annotated[
            str, msgspec.Meta(pattern=r"\A(sqlite(\+pysqlite)?:///(?!:memory:)(?!\?).|postgresql(\+[a-z0-9]+)?://)")
        ]
        | None
    ) = None
    database_migrate: Switch | None = None
    retention_days: Annotated[int, msgspec.Meta(ge=1, le=36_500)] | None = None
    data_dir: Path = Path("data")
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_dir: Path | None = None
    capture_dir: Path | None = None
    capture_audio: Switch = "off"

    @property
    def migrates(self) -> bool:
        """Whether the start brings the database to the present schema: our own file yes, somebody's server if asked."""
        return self.database_migrate == "on" or (self.database_migrate is None and self.database_url is None)

    @property
    def captures_private(self) -> bool:
        """Whether captures are asked for with audio, words and pressed keys in them."""
        return self.capture_dir is not None and self.capture_audio == "on"

    def store_url(self) -> str:
        """The database's address."""
        return self.database_url or f"sqlite:///{self.data_dir / 'tautline.db'}"


DATABASE_DOCUMENTED: tuple[Documented, ...] = (
    Documented(
        variable="DATABASE_URL",
        meaning="Where personas and call records are kept; unset, in the file tautline.db in DATA_DIR.",
        must_be="a sqlite:///path or postgresql:// address",
        example="postgresql://tautline:password@db/tautline",
        secrecy="password inside",
    ),
    Documented(
        variable="DATABASE_MIGRATE",
        meaning="Whether the start brings the database to the schema of this version; unset, only the embedded one.",
        must_be="off or on",
        example="on",
    ),
    Documented(
        variable="RETENTION_DAYS",
        meaning="How long calls are kept with their transcripts, before they are deleted; unset, for ever.",
        must_be="a whole number of days from 1 to 36500",
        example="90",
    ),
)

FILES_DOCUMENTED: tuple[Documented, ...] = (
    Documented(
        variable="DATA_DIR",
        meaning="A directory for what the server keeps for itself, such as rendered greetings; made when it is needed.",
        must_be="a directory's path",
        example="/var/lib/tautline",
    ),
    Documented(
        variable="LOG_LEVEL",
        meaning="How much is logged.",
        must_be="debug, info, warning or error",
        example="debug",
    ),
    Documented(
        variable="LOG_DIR",
        meaning="A directory for JSON log files, beside what goes to the standard error output.",
        must_be="a directory's path",
        example="/var/log/tautline",
    ),
    Documented(
        variable="CAPTURE_DIR",
        meaning="A directory where each call is recorded to a file that `tautline replay` can run again; empty is off.",
        must_be="a directory's path",
        example="/var/lib/tautline/captures",
    ),
    Documented(
        variable="CAPTURE_AUDIO",
        meaning="Whether those files keep both voices, the words and the pressed keys; off keeps their lengths only.",
        must_be="off or on",
        example="on",
    ),
)

STORE_WARNINGS: tuple[tuple[Callable[[StoreSettings], bool], str], ...] = (
    (
        lambda settings: settings.captures_private and not settings.withholds_captures,
        "CAPTURE_AUDIO=on: what is said and which keys are pressed is WRITTEN DOWN in CAPTURE_DIR, call by call.",
    ),
    (
        lambda settings: settings.captures_private and settings.withholds_captures,
        "CAPTURE_AUDIO=on has no effect: KEEP_AUDIO=off, KEEP_TRANSCRIPT=off and MASK_DIGITS=on each forbid it.",
    ),
)
