"""What each field of a session or a response may hold. The same fields configure both, so they are checked alike."""

from typing import Any, Final

from benchmarks.simulators.openai.checks import (
    Check,
    RequestError,
    anything,
    boolean,
    fields,
    integer,
    invalid_type,
    list_of,
    metadata,
    nullable,
    number,
    one_of,
    string_or,
    tagged,
    text,
)

VOICES: Final = ("alloy", "ash", "ballad", "coral", "echo", "sage", "shimmer", "verse", "marin", "cedar")
PCM_RATE_HZ: Final = 24_000
_LONGEST_WAIT_MS: Final = 60_000  # no limit is published for padding and silence: refuse only what must be a mistake


def _modalities(value: Any, path: str) -> None:
    if value not in (["audio"], ["text"]):
        message = f"Invalid modalities: {value}. Supported combinations are: ['text'] and ['audio']."
        raise RequestError("invalid_value", message, param=path)


def _pcm_rate(value: Any, path: str) -> None:
    if value != PCM_RATE_HZ:
        raise RequestError("invalid_value", f"Invalid value: {value}. The only supported rate is 24000.", param=path)


def _voice(value: Any, path: str) -> None:
    if isinstance(value, str):
        one_of(*VOICES)(value, path)
    else:
        fields({"id": text()}, required=("id",))(value, path)


def _token_limit(value: Any, path: str) -> None:
    if value == "inf":
        return
    if isinstance(value, str):
        raise invalid_type(path, 'an integer or "inf"', value)
    integer(1, 4096)(value, path)


# G.711 has one rate, so its formats have no `rate` key; pcm must name its only one.
_FORMAT: Final = tagged(
    {
        "audio/pcm": fields({"type": anything, "rate": _pcm_rate}, required=("rate",)),
        "audio/pcmu": fields({"type": anything}),
        "audio/pcma": fields({"type": anything}),
    }
)
_TRANSCRIPTION: Final = fields(
    {
        "model": text(),
        "language": nullable(text()),
        "prompt": nullable(text()),
        "keywords": nullable(list_of(text())),
        "languages": nullable(list_of(text())),
        "delay": nullable(one_of("minimal", "low", "medium", "high", "xhigh")),
    }
)
_TURN_DETECTION: Final = tagged(
    {
        "server_vad": fields(
            {
                "type": anything,
                "threshold": number(0, 1),
                "prefix_padding_ms": integer(0, _LONGEST_WAIT_MS),
                "silence_duration_ms": integer(0, _LONGEST_WAIT_MS),
                "idle_timeout_ms": nullable(integer(5000, 30_000)),
                "create_response": boolean,
                "interrupt_response": boolean,
            }
        ),
        "semantic_vad": fields(
            {
                "type": anything,
                "eagerness": one_of("low", "medium", "high", "auto"),
                "create_response": boolean,
                "interrupt_response": boolean,
            }
        ),
    }
)
_NOISE_REDUCTION: Final = fields(
    {"type": one_of("near_field", "far_field"), "strength": number(0, 1)}, required=("type",)
)
_FUNCTION: Final = fields(
    {"type": anything, "name": text(), "description": text(), "parameters": anything}, required=("name",)
)
_MCP_TOOL_KEYS: Final = (
    "server_url",
    "tunnel_id",
    "connector_id",
    "authorization",
    "headers",
    "allowed_tools",
    "require_approval",
    "server_description",
    "defer_loading",
    "allowed_callers",
)
_MCP: Final = fields(
    {"type": anything, "server_label": text(), **dict.fromkeys(_MCP_TOOL_KEYS, anything)}, required=("server_label",)
)
_CHOSEN_TOOL: Final = tagged(
    {
        "function": fields({"type": anything, "name": text()}, required=("name",)),
        "mcp": fields({"type": anything, "server_label": text(), "name": text()}, required=("server_label",)),
    }
)
_RETENTION: Final = fields(
    {
        "type": one_of("retention_ratio"),
        "retention_ratio": number(0, 1),
        "token_limits": fields({"post_instructions": integer(0, 1_000_000)}),
    },
    required=("type", "retention_ratio"),
)
_TRACING: Final = fields({"workflow_name": text(), "group_id": text(), "metadata": anything})
_PROMPT: Final = fields({"id": text(), "version": nullable(text()), "variables": nullable(anything)}, required=("id",))

# What both a session and one response can set.
_SHARED: Final[dict[str, Check]] = {
    "instructions": text(),
    "output_modalities": _modalities,
    "max_output_tokens": _token_limit,
    "tools": list_of(tagged({"function": _FUNCTION, "mcp": _MCP})),
    "tool_choice": string_or(_CHOSEN_TOOL, "auto", "none", "required"),
    "parallel_tool_calls": boolean,
    "reasoning": nullable(fields({"effort": one_of("minimal", "low", "medium", "high", "xhigh")})),
    "prompt": nullable(_PROMPT),
}
_OUTPUT: Final[dict[str, Check]] = {"format": _FORMAT, "voice": _voice}

SESSION: Final = fields(
    {
        **_SHARED,
        "type": one_of("realtime", "transcription"),
        "model": text(),
        "audio": fields(
            {
                "input": fields(
                    {
                        "format": _FORMAT,
                        "transcription": nullable(_TRANSCRIPTION),
                        "noise_reduction": nullable(_NOISE_REDUCTION),
                        "turn_detection": nullable(_TURN_DETECTION),
                    }
                ),
                "output": fields({**_OUTPUT, "speed": number(0.25, 1.5)}),
            }
        ),
        "truncation": string_or(_RETENTION, "auto", "disabled"),
        "tracing": nullable(string_or(_TRACING, "auto")),
        "include": nullable(list_of(one_of("item.input_audio_transcription.logprobs"))),
    },
    required=("type",),
)

RESPONSE: Final = fields(
    {
        **_SHARED,
        "audio": fields({"output": fields(_OUTPUT)}),
        "conversation": one_of("auto", "none"),
        "metadata": nullable(metadata),
        "input": nullable(list_of(anything)),  # its items are checked as items are
    }
)
