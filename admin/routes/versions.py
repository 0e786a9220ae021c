"""ETag, If-Match and If-None-Match for things that have versions (RFC 9110, section 13).

A version is a number, or text where more than the number decides what is answered; quotes are no part of it.
"""

from quart import Response, request

from admin.errors import ChangedMeanwhileError


def etag(version: int | str) -> str:
    """The entity tag of this version."""
    return f'"{version}"'


def require_match(version: int | str) -> None:
    """Let a change on if it was made to the version that is there. Without If-Match the newest one is meant.

    Raises: ChangedMeanwhileError.
    """
    given = request.headers.get("If-Match")
    if given is not None and given.strip() != "*" and etag(version) not in _listed(given):
        raise ChangedMeanwhileError


def is_known(version: int | str) -> bool:
    """Whether the client has this version already."""
    given = request.headers.get("If-None-Match")
    return given is not None and (given.strip() == "*" or etag(version) in _listed(given, weakly=True))


def not_modified(version: int | str) -> Response:
    """The answer to who has it already."""
    # Bytes, if none: without a body Quart makes one of its own, which asks for an asyncio loop.
    return Response(b"", status=304, headers={"ETag": etag(version)})


def _listed(header: str, *, weakly: bool = False) -> set[str]:
    tags = {tag.strip() for tag in header.split(",")}
    return {tag.removeprefix("W/") for tag in tags} if weakly else tags
