"""What the caller has heard, moment by moment. The laws that hold in any conversation: test_playout_properties.py."""

from relay.playout import MAX_PENDING_MARKS, MAX_SETTLED, Heard, Key, MarkName, Outgoing, Playout
from tests.relay.playouts import FRAME_BYTES, MARK_BYTES, if_stopped, silence_of

A, B = Key("resp_1", "item_a", 0), Key("resp_2", "item_b", 0)


def audio_in(outgoing: list[Outgoing]) -> bytes:
    return b"".join(piece for piece in outgoing if isinstance(piece, bytes))


def marks_in(outgoing: list[Outgoing]) -> list[str]:
    return [piece.name for piece in outgoing if isinstance(piece, MarkName)]


def heard_ms(playout: Playout, now: float) -> list[int]:
    return [part.heard_ms for part in if_stopped(playout, now)]


# Frames and marks


def test_audio_leaves_in_whole_frames_and_the_rest_waits() -> None:
    playout = Playout()
    sizes = [[len(piece) for piece in playout.push(A, bytes(n), 0.0) if isinstance(piece, bytes)] for n in (100, 100)]
    assert sizes == [[], [160]]


def test_the_end_of_a_part_is_padded_with_silence_and_marked() -> None:
    playout = Playout()
    assert playout.push(A, b"\x01" * 170, 0.0) == [b"\x01" * 160]
    padded, end = playout.finish(A, 0.0)
    assert padded == b"\x01" * 10 + silence_of(150)
    assert isinstance(end, MarkName)


def test_a_mark_follows_every_200_ms_however_the_audio_is_cut() -> None:
    playout = Playout()
    outgoing = [piece for size in (900, 700, 4000) for piece in playout.push(A, bytes(size), 0.0)]
    assert [len(piece) if isinstance(piece, bytes) else "mark" for piece in outgoing] == [
        *(800, 800, "mark"),
        *(1600, "mark", 1600, "mark", 800),
    ]


def test_a_part_without_audio_has_no_end_mark() -> None:
    assert Playout().finish(A, 0.0) == []


def test_a_part_ends_once() -> None:
    playout = Playout()
    playout.push(A, bytes(320), 0.0)
    assert len(marks_in(playout.finish(A, 0.0))) == 1
    assert playout.finish(A, 0.0) == playout.finish_response("resp_1", 0.0) == []


def test_the_end_of_a_response_ends_the_parts_that_did_not_say_so_themselves() -> None:
    playout = Playout()
    second = Key("resp_1", "item_a", 1)
    playout.push(A, bytes(320), 0.0)
    playout.push(second, bytes(200), 0.0)
    outgoing = playout.finish_response("resp_1", 0.0)
    assert audio_in(outgoing) == bytes(40) + silence_of(120)
    playout.echo(marks_in(outgoing)[-1], 1.0)
    assert not playout.is_sounding


def test_a_late_delta_after_its_part_has_ended_still_sounds() -> None:
    playout = Playout()
    playout.push(A, bytes(160), 0.0)
    playout.finish(A, 0.0)
    assert audio_in(playout.push(A, b"\x05" * 160, 0.0)) == b"\x05" * 160
    assert playout.is_sounding


# The position heard


def test_between_two_marks_the_position_runs_with_time() -> None:
    playout = Playout()
    first, _ = marks_in(playout.push(A, bytes(2 * MARK_BYTES), 10.0))
    playout.echo(first, 10.2)
    assert heard_ms(playout, 10.25) == [250]


def test_the_position_waits_at_the_next_mark_that_has_not_come_back() -> None:
    playout = Playout()
    playout.push(A, bytes(2 * MARK_BYTES), 10.0)
    assert heard_ms(playout, 15.0) == [200]


def test_on_a_slow_line_a_clear_takes_effect_as_late_as_the_voice_began() -> None:
    playout = Playout()
    first, _ = marks_in(playout.push(A, bytes(2 * MARK_BYTES), 10.0))
    playout.echo(first, 10.32)  # it is 120 ms to the caller and back
    assert heard_ms(playout, 10.35) == [350]  # 230 and what sounds until the echo was back and the clear is there


def test_an_overdue_mark_holds_the_position_at_what_may_be_under_way() -> None:
    playout = Playout()
    first, *_ = marks_in(playout.push(A, bytes(6 * MARK_BYTES), 10.0))
    playout.echo(first, 10.28)
    assert heard_ms(playout, 15.0) == [400 + 80 + 2 * 20]  # the next mark, the round trip, jitter there and back


def test_marks_that_come_late_say_that_the_voice_began_late() -> None:
    playout = Playout()
    on_time, end = (marks_in(outgoing)[0] for outgoing in (playout.push(A, bytes(1600), 10.0), playout.finish(A, 10.0)))
    playout.echo(on_time, 10.28)
    playout.echo(end, 10.28)
    names = marks_in(playout.push(B, bytes(10 * MARK_BYTES), 20.0))
    for at, name in enumerate(names[:4], start=1):
        playout.echo(name, 20.0 + 0.2 * at + 0.080 + 0.300)  # by 300 ms
    assert heard_ms(playout, 21.5) == [1200]


def test_a_voice_that_began_late_stays_late_however_often_its_marks_say_so() -> None:
    playout = Playout()
    for name in [*marks_in(playout.push(A, bytes(1600), 10.0)), *marks_in(playout.finish(A, 10.0))]:
        playout.echo(name, 10.28)
    names = marks_in(playout.push(B, bytes(50 * MARK_BYTES), 20.0))
    for at, name in enumerate(names[:40], start=1):
        playout.echo(name, 20.0 + 0.2 * at + 0.380)
    [part] = playout.interrupt(28.5)
    assert part.heard_ms == 8200
    assert part.error_bound_ms == 321, "a line that has become longer for echoes alone looks the same"


def test_what_was_taken_for_heard_is_not_taken_back_when_the_voice_proves_late() -> None:
    playout = Playout()
    first, second, *_ = marks_in(playout.push(A, bytes(10 * MARK_BYTES), 10.0))
    playout.echo(first, 10.28)
    before = heard_ms(playout, 10.78)
    playout.echo(second, 10.78)  # 300 ms late
    assert heard_ms(playout, 10.78) == before == [520]
    assert heard_ms(playout, 10.88) == [580], "it waits until the voice is there"


def test_what_is_sent_before_a_late_voice_has_ended_is_late_by_the_rest() -> None:
    playout = Playout()
    on_time, end, late = (
        marks_in(outgoing)[0]
        for outgoing in (
            playout.push(A, bytes(1600), 10.0),
            playout.finish(A, 10.0),
            playout.push(B, bytes(1600), 20.0),
        )
    )
    playout.echo(on_time, 10.28)
    playout.echo(end, 10.28)
    playout.echo(late, 20.58)  # by 300 ms
    playout.push(B, bytes(MARK_BYTES - 160), 20.3)  # 100 ms after the end that it should have had
    assert heard_ms(playout, 20.58) == [280], "200 ms heard, and 80 more"


def test_one_late_mark_among_others_changes_little() -> None:
    playout = Playout()
    names = marks_in(playout.push(A, bytes(10 * MARK_BYTES), 10.0))
    for at, name in enumerate(names[:4], start=1):
        playout.echo(name, 10.0 + 0.2 * at + (0.200 if at == 3 else 0.080))
    assert heard_ms(playout, 11.0) == [1000]


def test_where_echoes_get_lost_a_missing_one_holds_nothing() -> None:
    playout = Playout()
    names = marks_in(playout.push(A, bytes(10 * MARK_BYTES), 10.0))
    playout.echo(names[1], 10.48)
    [part] = if_stopped(playout, 11.5)
    assert part.heard_ms == 1500
    assert part.error_bound_ms >= 1500 - 400, "nobody knows, and it is said"


def test_a_mark_that_comes_too_early_is_believed() -> None:
    playout = Playout()
    names = marks_in(playout.push(A, bytes(10 * MARK_BYTES), 10.0))
    playout.echo(names[2], 10.1)
    assert heard_ms(playout, 10.2) == [700]


# How far off it may be


def bounds_ms(playout: Playout, now: float) -> list[int]:
    return [part.error_bound_ms for part in if_stopped(playout, now)]


def test_what_is_confirmed_is_exact() -> None:
    playout = Playout()
    playout.push(A, bytes(MARK_BYTES), 10.0)
    (end,) = marks_in(playout.finish(A, 10.0))
    assert playout.echo(end, 10.28) == [Heard(A, heard_ms=200, sent_ms=200, is_whole=True, error_bound_ms=0)]


def test_before_anything_came_back_nothing_may_have_been_heard() -> None:
    playout = Playout()
    playout.push(A, bytes(4 * MARK_BYTES), 10.0)
    assert bounds_ms(playout, 10.15) == [150]
    assert bounds_ms(playout, 15.00) == [600], "or all of it: the position waits at the first mark"


def test_on_a_line_that_keeps_time_the_bound_is_a_frame() -> None:
    playout = Playout()
    first, *_ = marks_in(playout.push(A, bytes(4 * MARK_BYTES), 10.0))
    playout.echo(first, 10.28)
    playout.push(B, bytes(MARK_BYTES), 10.28)
    assert bounds_ms(playout, 10.45) == [21, 0], "rounded up; and what is queued far behind is surely not heard"


def test_at_its_end_a_voice_may_still_sound() -> None:
    playout = Playout()
    names = marks_in(playout.push(A, bytes(4 * MARK_BYTES), 10.0))
    for name, at in zip(names, (10.28, 10.48, 10.68), strict=False):
        playout.echo(name, at)
    assert [(part.heard_ms, part.error_bound_ms) for part in if_stopped(playout, 10.8)] == [(800, 21)]


def test_when_a_mark_is_overdue_only_what_is_confirmed_is_sure() -> None:
    playout = Playout()
    first, *_ = marks_in(playout.push(A, bytes(4 * MARK_BYTES), 10.0))
    playout.echo(first, 10.28)
    assert bounds_ms(playout, 15.0) == [(400 + 80 + 40) - 200]


def test_a_late_mark_may_be_late_alone() -> None:
    playout = Playout()
    names = marks_in(playout.push(A, bytes(10 * MARK_BYTES), 10.0))
    for at, name in enumerate(names[:5], start=1):
        playout.echo(name, 10.0 + 0.2 * at + (0.380 if at == 5 else 0.080))
    [part] = if_stopped(playout, 11.38)
    assert part.heard_ms < 1380 <= part.heard_ms + part.error_bound_ms


def test_what_has_been_played_for_long_is_exact_though_its_last_bytes_had_no_mark() -> None:
    playout = Playout()
    first, *_ = marks_in(playout.push(A, bytes(MARK_BYTES + 800), 10.0))
    playout.echo(first, 10.28)
    assert [(part.heard_ms, part.error_bound_ms) for part in if_stopped(playout, 12.0)] == [(300, 0)]


def test_an_echo_confirms_all_marks_before_it() -> None:
    playout = Playout()
    names = marks_in(playout.push(A, bytes(4 * MARK_BYTES), 0.0))
    playout.echo(names[2], 0.6)
    assert heard_ms(playout, 0.6) == [600]
    assert playout.echo(names[0], 0.7) is None


def test_a_pause_in_the_stream_is_not_taken_for_playing() -> None:
    playout = Playout()
    playout.push(A, bytes(800), 0.0)
    playout.push(A, bytes(800), 5.0)  # the first 100 ms had sounded long ago
    assert heard_ms(playout, 5.05) == [150]


def test_padding_is_not_heard_as_speech() -> None:
    playout = Playout()
    playout.push(A, bytes(8), 0.0)
    playout.finish(A, 0.0)
    assert [(part.heard_ms, part.sent_ms, part.is_whole) for part in if_stopped(playout, 9.0)] == [(1, 1, True)]


def test_a_part_queued_behind_another_is_not_heard_yet() -> None:
    playout = Playout()
    playout.push(A, bytes(MARK_BYTES), 0.0)
    playout.finish(A, 0.0)
    playout.push(B, bytes(MARK_BYTES), 0.0)
    assert [(part.key, part.heard_ms) for part in if_stopped(playout, 0.15)] == [(A, 150), (B, 0)]


def test_parts_that_take_turns_are_each_heard_as_far_as_they_sounded() -> None:
    playout = Playout()
    names = [name for key in (A, B, A) for name in marks_in(playout.push(key, bytes(MARK_BYTES), 0.0))]
    playout.echo(names[1], 0.4)
    assert [(part.key, part.heard_ms, part.sent_ms) for part in if_stopped(playout, 0.45)] == [
        (A, 250, 400),
        (B, 200, 200),
    ]


def test_a_part_heard_to_its_end_is_settled_by_its_end_mark() -> None:
    playout = Playout()
    playout.push(A, bytes(320), 0.0)
    (end,) = marks_in(playout.finish(A, 0.0))
    assert playout.echo(end, 0.05) == [Heard(A, heard_ms=40, sent_ms=40, is_whole=True)]
    assert not playout.is_sounding
    assert playout.interrupt(0.06) == []


def test_a_part_that_may_go_on_is_not_settled_by_a_mark() -> None:
    playout = Playout()
    (name,) = marks_in(playout.push(A, bytes(MARK_BYTES), 0.0))
    assert playout.echo(name, 0.2) == []


def test_what_comes_of_a_part_after_its_end_was_heard_is_not_played() -> None:
    playout = Playout()
    playout.push(A, bytes(320), 0.0)
    (end,) = marks_in(playout.finish(A, 0.0))
    playout.echo(end, 0.05)
    assert playout.push(A, bytes(320), 0.06) == playout.finish(A, 0.06) == []
    assert playout.interrupt(1.0) == [], "it was settled, and is not settled again"


def test_parts_that_are_over_are_not_remembered_for_ever() -> None:
    playout = Playout()
    for part in range(MAX_SETTLED + 1):
        playout.push(Key("resp_1", f"item_{part}", 0), bytes(FRAME_BYTES), 0.0)
        playout.echo(marks_in(playout.finish_response("resp_1", 0.0))[0], 0.1)
    assert len(playout._settled) == MAX_SETTLED


# Interrupting


def test_an_interrupt_forgets_what_was_waiting() -> None:
    playout = Playout()
    playout.push(A, b"\x01" * 170, 0.0)
    playout.interrupt(0.0)
    assert not playout.is_sounding
    assert playout.push(B, b"\x02" * 160, 0.0) == [b"\x02" * 160]


def test_marks_that_were_cleared_mean_nothing_when_they_come_back() -> None:
    playout = Playout()
    old = marks_in(playout.push(A, bytes(2 * MARK_BYTES), 0.0))
    playout.interrupt(0.1)
    playout.push(B, bytes(2 * MARK_BYTES), 1.0)
    assert [playout.echo(name, 1.0) for name in old] == [None, None]
    assert heard_ms(playout, 1.03) == [30]


def test_an_unknown_mark_means_nothing() -> None:
    assert Playout().echo("g0.1", 0.0) is None


def test_a_clear_that_took_longer_than_the_voice_let_more_be_heard() -> None:
    playout = Playout()
    first, *cleared = marks_in(playout.push(A, bytes(10 * MARK_BYTES), 10.0))
    playout.echo(first, 10.28)
    playout.interrupt(10.5)
    assert playout.reconciled_ms is None
    for name in cleared:
        playout.echo(name, 10.5 + 0.130)
    assert playout.reconciled_ms == 50


def test_without_a_mark_that_surely_was_cleared_nothing_is_reconciled() -> None:
    playout = Playout()
    first, second = marks_in(playout.push(A, bytes(2 * MARK_BYTES), 10.0))
    playout.echo(first, 10.28)
    playout.interrupt(10.45)
    playout.echo(second, 10.53)
    assert playout.reconciled_ms is None


def test_a_voice_of_which_no_mark_came_back_is_not_reconciled() -> None:
    playout = Playout()
    first, *_ = marks_in(playout.push(A, bytes(MARK_BYTES), 10.0))
    playout.echo(first, 10.28)
    cleared = marks_in(playout.push(A, bytes(4 * MARK_BYTES), 20.0))
    playout.interrupt(20.1)
    for name in cleared:
        playout.echo(name, 20.2)
    assert playout.reconciled_ms is None


def test_the_first_answer_that_is_cut_off_measures_the_line_for_the_next() -> None:
    playout = Playout()
    for name in marks_in(playout.push(A, bytes(2 * MARK_BYTES), 10.0)):
        playout.interrupt(10.1)
        playout.echo(name, 10.19)
    playout.push(B, bytes(4 * MARK_BYTES), 11.0)
    assert heard_ms(playout, 11.25) == [250], "beyond a mark that cannot be back yet"


# A peer that never echoes


def test_marks_that_never_come_back_are_forgotten_one_day() -> None:
    playout = Playout()
    audio = bytes(100 * MARK_BYTES)
    names = [name for _ in range(MAX_PENDING_MARKS // 100 + 1) for name in marks_in(playout.push(A, audio, 0.0))]
    assert playout.echo(names[0], 1.0) is None
    assert playout.echo(names[-1], 1.0) == []


def test_parts_that_are_never_confirmed_are_forgotten_one_day() -> None:
    playout = Playout()
    for part in range(MAX_PENDING_MARKS + 500):
        playout.push(Key("resp_1", f"item_{part}", 0), bytes(FRAME_BYTES), 0.0)
    assert len(playout.interrupt(1.0)) <= MAX_PENDING_MARKS
