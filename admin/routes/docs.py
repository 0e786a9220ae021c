"""/docs: a page that shows what /openapi.json says, and tries it. All of it is served from here.

The files are read once, when the app is made. The page keeps a key that is typed into it in its memory, nowhere else.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from quart import Blueprint, Response
from quart_schema import hide

from admin.manners.safe_headers import OWN_PAGE

FOLDER: Final = Path(__file__).parent.parent / "static" / "docs"
FILES: Final = {
    "/docs": ("index.html", "text/html; charset=utf-8"),
    "/docs/docs.css": ("docs.css", "text/css; charset=utf-8"),
    "/docs/docs.js": ("docs.js", "text/javascript; charset=utf-8"),
}
MAX_AGE_S: Final = 300


def docs_blueprint() -> Blueprint:
    """The page and what it is made of."""
    blueprint = Blueprint("docs", __name__)
    for path, (name, content_type) in FILES.items():
        blueprint.add_url_rule(path, name.replace(".", "_"), _serving((FOLDER / name).read_bytes(), content_type))
    return blueprint


def _serving(content: bytes, content_type: str) -> Callable[[], Awaitable[Response]]:
    headers = {"Content-Security-Policy": OWN_PAGE, "Cache-Control": f"max-age={MAX_AGE_S}"}

    @hide
    async def serve() -> Response:
        return Response(content, content_type=content_type, headers=headers)

    return serve
