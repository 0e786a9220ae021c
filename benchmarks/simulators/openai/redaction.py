"""What an observer must not see: the secrets a client hands over inside its events.

Keys stay in the handshake and are in no event; but the tools a session runs elsewhere may carry their own.
"""

from typing import Final

from benchmarks.simulators.openai.events import Json

_SECRETS: Final = ("authorization", "headers")
_HOLDERS: Final = ("session", "response")


def redacted(event: Json) -> Json:
    """The event, with such secrets replaced; itself, when there are none."""
    for holder in _HOLDERS:
        inside = event.get(holder)
        tools = inside.get("tools") if isinstance(inside, dict) else None
        if isinstance(inside, dict) and isinstance(tools, list) and any(map(_has_secret, tools)):
            safe = [_without_secret(tool) if _has_secret(tool) else tool for tool in tools]
            event = {**event, holder: {**inside, "tools": safe}}
    return event


def _has_secret(tool: object) -> bool:
    return isinstance(tool, dict) and any(key in tool for key in _SECRETS)


def _without_secret(tool: Json) -> Json:
    return {key: "[redacted]" if key in _SECRETS else value for key, value in tool.items()}
