"""What responses cost in tokens, by the kinds that are priced apart. Pure."""

import msgspec

from proto import realtime


class TokenUsage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens of one response, or of a whole call.

    input_tokens and output_tokens are totals; a service that tells no details leaves the rest at 0. Cached tokens are
    among those of the input; what a model thought is among the text of the output.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    input_text_tokens: int = 0
    input_audio_tokens: int = 0
    cached_text_tokens: int = 0
    cached_audio_tokens: int = 0
    output_text_tokens: int = 0
    output_audio_tokens: int = 0

    def __add__(self, other: "TokenUsage") -> "TokenUsage":
        mine, theirs = msgspec.structs.asdict(self), msgspec.structs.asdict(other)
        return TokenUsage(**{name: mine[name] + theirs[name] for name in mine})


def usage_of(response: realtime.Response) -> TokenUsage:
    """What a response reports; nothing when it does not."""
    usage = response.usage
    if usage is None:
        return TokenUsage()
    given = usage.input_token_details or realtime.InputTokens()
    cached = given.cached_tokens_details or realtime.Tokens()
    made = usage.output_token_details or realtime.Tokens()
    return TokenUsage(
        input_tokens=usage.input_tokens or 0,
        output_tokens=usage.output_tokens or 0,
        input_text_tokens=given.text_tokens or 0,
        input_audio_tokens=given.audio_tokens or 0,
        cached_text_tokens=cached.text_tokens or 0,
        cached_audio_tokens=cached.audio_tokens or 0,
        output_text_tokens=made.text_tokens or 0,
        output_audio_tokens=made.audio_tokens or 0,
    )
