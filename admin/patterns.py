"""Parts of what text may be, for msgspec.Meta: /openapi.json shows them, so they are what JSON Schema has, too."""

from typing import Final

# Text that both databases can hold: no NUL, no half of a character.
KEEPABLE: Final = r"^[^\x00\ud800-\udfff]*$"
END: Final = r"$(?!\n)"  # `$` alone also matches before a newline at the end, and JSON Schema knows no \Z
