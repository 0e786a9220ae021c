"""The call as a picture: both voices on one time axis, marks, the clear, and where the model was told it was cut."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.simulators import twilio
from benchmarks.simulators.twilio import CallReport
from proto import mulaw
from relay import log
from tautline.demo.recorder import Recorder

INK, CALLER, AGENT, CUT, MARK = "#22303c", "#2a7fb8", "#2c9f6b", "#d1495b", "#b8c4cc"
ENVELOPE_MS = 20


def draw(path: Path, report: CallReport, recorder: Recorder) -> None:
    """Write the picture as PNG."""
    mpl.rcParams["font.family"] = "DejaVu Sans"
    figure = Figure(figsize=(12, 4.6), dpi=150, layout="constrained")
    caller, agent, marks = figure.subplots(3, 1, sharex=True, height_ratios=(4, 4, 1))
    _draw_voice(caller, report.sent_track, CALLER, "caller")
    _draw_voice(agent, report.heard_track, AGENT, "agent,\nas heard")
    _draw_marks(marks, recorder)
    _draw_cuts((caller, agent), recorder)
    marks.set_xlabel("seconds since the call was answered")
    marks.set_xlim(0, report.duration_ms / 1000)
    caller.set_title("One call through Tautline (simulated Twilio and OpenAI)", loc="left", color=INK, fontsize=12)
    figure.savefig(path)


def _draw_voice(axes: Axes, track: bytes, colour: str, label: str) -> None:
    loudness = _envelope(track)
    at_s = np.arange(len(loudness)) * ENVELOPE_MS / 1000
    axes.fill_between(at_s, -loudness, loudness, color=colour, linewidth=0)
    axes.set_ylim(-1.05, 1.05)
    _bare(axes, label, colour)
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(bottom=False)


def _draw_marks(axes: Axes, recorder: Recorder) -> None:
    sent = [at_ms / 1000 for at_ms, _ in recorder.of(twilio.MarkReceived)]
    echoed = [at_ms / 1000 for at_ms, _ in recorder.of(twilio.MarkEchoed)]
    axes.vlines(sent, 0.55, 0.95, color=MARK, linewidth=0.8)
    axes.vlines(echoed, 0.05, 0.45, color=INK, linewidth=0.8)
    axes.set_ylim(0, 1)
    axes.text(1.002, 0.72, "sent", transform=axes.transAxes, color="#7d8b95", fontsize=8, va="center")
    axes.text(1.002, 0.25, "echoed", transform=axes.transAxes, color=INK, fontsize=8, va="center")
    _bare(axes, "marks", INK)


def _draw_cuts(voices: tuple[Axes, Axes], recorder: Recorder) -> None:
    for (cleared_ms, cleared), (_, cut) in zip(recorder.of(twilio.Cleared), recorder.of(log.BargedIn), strict=False):
        for axes in voices:
            axes.axvline(cleared_ms / 1000, ymax=1.12, color=CUT, linewidth=1.2, clip_on=False)
        dropped_s = cleared.dropped_ms / 1000
        note = f"clear, {dropped_s:.1f} s dropped; truncated at {cut.heard_ms} ms, heard {cleared.heard_ms} ms"
        above = (cleared_ms / 1000, 1.0)
        voices[1].annotate(
            note, above, (5, 3), ("data", "axes fraction"), "offset points", color=CUT, fontsize=8, va="bottom"
        )


def _envelope(track: bytes) -> mulaw.Floats:
    """Loudness of each 20 ms, 0 to 1 of the loudest."""
    whole = len(track) - len(track) % mulaw.FRAME_BYTES
    samples = mulaw.decode(track[:whole]).astype(np.float64).reshape(-1, mulaw.FRAME_BYTES)
    loudness = np.sqrt((samples**2).mean(axis=1))
    scaled: mulaw.Floats = loudness / max(float(loudness.max(initial=0.0)), 1.0)
    return scaled


def _bare(axes: Axes, label: str, colour: str) -> None:
    axes.set_yticks([])
    axes.set_ylabel(label, rotation=0, ha="right", va="center", color=colour, fontweight="bold")
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(colors=INK)
