"""The demo in the terminal: what happens, line by line as it happens, and the figures at the end."""

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from benchmarks.simulators import twilio
from benchmarks.simulators.twilio import CallReport
from relay import log
from tautline.demo.figures import Answer, Interruption, Line
from tautline.demo.recorder import Seen


class Screen:
    """Shows a call live. On a terminal a status line moves below the events; elsewhere there are only the events."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._caller_speaks = self._agent_sounds = False
        self._marks_out = 0
        self._live = Live(self._status(), console=console, refresh_per_second=10, transient=True)

    def __enter__(self) -> "Screen":
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, seen: Seen) -> None:
        """Take one event."""
        self._follow(seen.event)
        if self._console.is_terminal:
            self._live.update(self._status())
        if text := _sentence(seen.event):
            self._console.print(Text.assemble((f"{seen.at_ms / 1000:7.2f} s  ", "dim"), text))

    def _follow(self, event: log.LogEvent | twilio.Event) -> None:
        match event:
            case twilio.CallerSpeaking():
                self._caller_speaks = True
            case twilio.CallerSilent():
                self._caller_speaks = False
            case twilio.AgentHeard(state=state):
                self._agent_sounds = state == "started"
            case twilio.MarkReceived():
                self._marks_out += 1
            case twilio.MarkEchoed():
                self._marks_out -= 1

    def _status(self) -> Text:
        def light(label: str, is_on: bool, colour: str) -> tuple[str, str]:
            return (f" {'●' if is_on else '○'} {label} ", colour if is_on else "dim")

        return Text.assemble(
            light("caller speaks", self._caller_speaks, "bold cyan"),
            light("agent sounds", self._agent_sounds, "bold green"),
            (f"  marks on their way: {self._marks_out}", "dim"),
        )


def _sentence(event: log.LogEvent | twilio.Event) -> Text | None:
    """One event in words, None for those that only move the status line."""
    match event:
        case twilio.StreamStarted():
            return Text("☎  the call is answered, the media stream is open")
        case log.UpstreamReady(open_ms=open_ms, configure_ms=configure_ms):
            return Text(f"OpenAI is ready: connected in {open_ms:.0f} ms, configured in {configure_ms:.0f} ms")
        case log.CallerTranscribed(words=words):
            return Text.assemble(("caller  ", "bold cyan"), words)
        case log.AnswerBegan(model_ms=model_ms, relay_ms=relay_ms):
            return Text.assemble(
                ("agent   ", "bold green"), f"begins ({model_ms:.0f} ms model, {relay_ms:.2f} ms relay)"
            )
        case log.BargedIn(heard_ms=heard_ms, unheard_ms=unheard_ms):
            return Text(f"✂  the caller interrupts: {heard_ms} ms were heard, {unheard_ms} ms are cleared", "bold red")
        case log.AgentHeard(heard_ms=heard_ms, generated_ms=generated_ms, words=words):
            share = "" if heard_ms >= generated_ms else f"  [heard {heard_ms} of {generated_ms} ms]"
            return Text.assemble(("agent   ", "bold green"), words or "", (share, "red"))
        case log.UpstreamFailed(detail=detail):
            return Text(f"OpenAI: {detail}", "bold red")
        case log.CallEnded(reason=reason, duration_ms=duration_ms):
            return Text(f"☎  the call is over after {duration_ms / 1000:.1f} s: {reason.replace('_', ' ')}")
    return None


def show_figures(
    console: Console, report: CallReport, lines: list[Line], answers: list[Answer], interruptions: list[Interruption]
) -> None:
    """The transcript and what was measured."""
    console.print(_transcript_table(lines))
    console.print(_latency_table(report, answers))
    for each in interruptions:
        error_ms = abs(each.truncated_at_ms - each.really_heard_ms)
        console.print(
            f"[bold]Barge-in[/] at {each.at_ms / 1000:.2f} s: clear sent {each.clear_ms:.2f} ms after the relay learnt "
            f"of it, truncated at {each.truncated_at_ms} ms, really heard {each.really_heard_ms} ms "
            f"(off by {error_ms} ms)"
        )


def _transcript_table(lines: list[Line]) -> Table:
    table = Table(title="Transcript", title_justify="left", show_edge=False, pad_edge=False)
    for heading in ("at", "", "words", "heard"):
        table.add_column(heading, justify="right" if heading in ("at", "heard") else "left")
    for line in lines:
        heard = "" if line.heard is None else f"{line.heard:.0%}"
        style = "cyan" if line.speaker == "caller" else "green"
        table.add_row(f"{line.at_ms / 1000:.2f} s", Text(line.speaker, style), line.words, heard)
    return table


def _latency_table(report: CallReport, answers: list[Answer]) -> Table:
    first = "no audio" if report.first_audio_ms is None else f"{report.first_audio_ms:.0f} ms"
    table = Table(
        title=f"Latency (first audio {first} after start)", title_justify="left", show_edge=False, pad_edge=False
    )
    for heading in ("answer", "model", "relay", "playout", "together"):
        table.add_column(heading, justify="right")
    for number, answer in enumerate(answers):
        playout = "-" if answer.playout_ms is None else f"{answer.playout_ms:.1f} ms"
        name = "greeting" if number == 0 else str(number)
        table.add_row(
            name, f"{answer.model_ms:.0f} ms", f"{answer.relay_ms:.2f} ms", playout, f"{answer.total_ms:.0f} ms"
        )
    return table
