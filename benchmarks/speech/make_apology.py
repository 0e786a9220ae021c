"""Speak the built-in apology anew. Needs espeak-ng and sox. Run: python -m benchmarks.speech.make_apology

Only for whoever changes its words or its voice; the clip is kept in tautline/sounds and shipped with the package. It is
made as the clips here are, so the same versions of both programs make the same bytes.
"""

import re

from benchmarks.speech.make_clips import Line, render
from proto import mulaw
from relay import Persona
from tautline.phrases import APOLOGY_CLIP

LINE = Line("apology", "assistant", tuple(re.split(r"(?<=[.!?]) ", Persona(instructions="").apology)))


def main() -> None:
    """Write the clip."""
    _, audio = render(LINE)
    APOLOGY_CLIP.write_bytes(audio)
    print(f"{APOLOGY_CLIP}: {mulaw.duration_ms(len(audio))} ms")


if __name__ == "__main__":
    main()
