"""The packages of the Node baseline: fetched with npm when it is first wanted, kept beside it in the checkout.

Node and npm come from the system (Debian: `apt-get install nodejs npm`); nothing else here needs them. Versions and
hashes stand in package-lock.json; from where npm fetches is up to npm's own settings.
"""

import shutil
import subprocess
from pathlib import Path
from typing import Final

import msgspec

FOLDER: Final = Path(__file__).with_name("node_fastify")
INSTALL_WITHIN_S: Final = 50.0
SAID_CHARACTERS: Final = 300  # the end of what npm said, shown when it failed
# Exactly the lock's versions; none of the packages has to build anything, so none may run anything.
_NPM_CI: Final = ("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline")


class _Package(msgspec.Struct):
    dependencies: dict[str, str]


def why_absent() -> str | None:
    """Install the packages unless they are there; why that cannot be, or None when they are there."""
    missing = [program for program in ("node", "npm") if shutil.which(program) is None]
    if missing:
        return f"{' and '.join(missing)} not found; on Debian: apt-get install nodejs npm"
    return None if _is_installed() else _install()


def versions() -> dict[str, str]:
    """Of Node, and of what the relay asks for. Node must be there."""
    said = subprocess.run(("node", "--version"), capture_output=True, text=True, check=True).stdout  # noqa: S607 - from the PATH
    package = msgspec.json.decode((FOLDER / "package.json").read_bytes(), type=_Package)
    return {"node": said.strip().removeprefix("v"), **package.dependencies}


def _is_installed() -> bool:
    """Npm leaves a copy of the lock behind; an older one belongs to an older lock."""
    copy = FOLDER / "node_modules" / ".package-lock.json"
    return copy.exists() and copy.stat().st_mtime >= (FOLDER / "package-lock.json").stat().st_mtime


def _install() -> str | None:
    try:
        done = subprocess.run(  # noqa: S603 - fixed words
            _NPM_CI, cwd=FOLDER, capture_output=True, text=True, timeout=INSTALL_WITHIN_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"npm ci took more than {INSTALL_WITHIN_S:g} s"
    return f"npm ci failed: {done.stderr.strip()[-SAID_CHARACTERS:]}" if done.returncode else None
