"""The load tool's upstream reads a text aloud, so that previews and greetings can be had from it."""

import ssl
from functools import partial

import pytest

from benchmarks.load import Profile, open_far_end
from benchmarks.pump import open_pump
from proto import mulaw
from relay import Upstream, open_upstream, render_speech

TEXT = "Thank you for calling. How can I help?"


@pytest.mark.parametrize("profile", ["echo", "conversation"])
async def test_a_text_is_read_for_as_long_as_its_words_take(profile: Profile) -> None:
    async with open_far_end(profile) as far_end, open_pump() as pump:
        upstream, tls = Upstream(url=far_end.upstream_url, api_key="bench"), ssl.create_default_context()
        audio = await render_speech(partial(open_upstream, upstream, pump, tls), "marin", TEXT)
    assert 2000 <= mulaw.duration_ms(len(audio)) <= 4000
