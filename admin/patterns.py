"""Parts of what text may be, for msgspec.Meta. /openapi.json shows them, so they mean the same in JSON Schema."""

from typing import Final

END: Final = r"$(?!\n)"  # `$` alone also matches before a newline at the end, and JSON Schema knows no \Z
# No NUL, which PostgreSQL cannot hold. Halves of characters do not come in: JSON that has some is refused.
KEEPABLE: Final = r"^[^\x00]*$"
# Beside \s: what only some take for a space.
EMAIL: Final = rf"^[^@\s\x00-\x1f\x85\ufeff]+@[^@\s\x00-\x1f\x85\ufeff]+{END}"
