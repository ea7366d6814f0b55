"""The decoder and its slots over a pretended model: who takes part, what is kept, who is told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from queue import Empty, SimpleQueue

import numpy as np
import pytest

from appliance.errors import ApplianceError, Superseded
from appliance.serving import Priority
from services.llm.asked import Asked, Broken, ContextFull, Done
from services.llm.decoder import Decoder
from services.llm.slots import Slots
from tests.fakes_llm import WAIT_S, WINDOW, Desk, PretendedModel, known, rest, words
from tests.waiting import until

pytestmark = pytest.mark.unit


@pytest.fixture
def desk(request: pytest.FixtureRequest) -> Iterator[Desk]:
    how = dict(getattr(request, "param", {}))
    if how.pop("stepwise", False):
        how["allowed"] = SimpleQueue()
    slots, step = how.pop("slots", 4), how.pop("step", 8)
    made = Desk(PretendedModel(**how), slots, step)
    yield made
    if made.model.allowed is not None:
        for _ in range(1000):
            made.model.allowed.put(None)
    made.decoder.close()


def test_an_answer_goes_on_from_the_prompt(desk: Desk) -> None:
    items = desk.answer([10, 11, 12], most=4)
    assert words(items) == [13, 14, 15, 16]
    assert items[-1] is Done.LENGTH
    assert desk.answer([996, 997], most=9)[-1] is Done.STOP


def test_a_long_prompt_is_read_in_pieces(desk: Desk) -> None:
    assert words(desk.answer(list(range(30)), most=1)) == [30]
    assert [len(rows[0].tokens) for rows in desk.model.steps] == [8, 8, 8, 6]
    assert [rows[0].wants_logits for rows in desk.model.steps] == [False, False, False, True]


def test_a_room_keeps_its_place_between_turns(desk: Desk) -> None:
    rooms = {f"room-{n}": [100 * n + k for k in range(10)] for n in range(4)}
    for turn in range(5):
        for name, talk in rooms.items():
            items = desk.answer(talk, session=name)
            assert known(items) == (0 if turn == 0 else len(talk) - 2)
            # The last word said is not read yet; what the caller says comes behind it.
            talk += [*words(items), 5]
            assert words(items) == [talk[-5] + 1, talk[-5] + 2, talk[-5] + 3]


def test_who_was_silent_for_longest_loses_his_place(desk: Desk) -> None:
    for n in range(5):
        desk.answer([100 * n + k for k in range(10)], session=f"room-{n}")
    assert known(desk.answer([100 + k for k in range(12)], session="room-1")) == 11
    assert known(desk.answer(list(range(12)), session="room-0")) == 0
    assert known(desk.answer([100 + k for k in range(12)], session="room-1")) == 11


def test_a_strangers_work_takes_no_rooms_place(desk: Desk) -> None:
    for n in range(4):
        desk.answer([100 * n + k for k in range(10)], session=f"room-{n}")
    for n in range(3):
        desk.answer([500 + 20 * n + k for k in range(10)], priority=Priority.BACKGROUND)
    for n in range(4):
        assert known(desk.answer([100 * n + k for k in range(10)], session=f"room-{n}")) == 9


def test_a_strangers_talk_goes_on_where_it_was(desk: Desk) -> None:
    first = [7, 8, 9, 10, 11]
    items = desk.answer(first)
    assert known(desk.answer([*first, *words(items), 3])) == len(first) + 2
    assert len({rows[0].sequence for rows in desk.model.steps}) == 1


@pytest.mark.parametrize("desk", [{"window_tokens": 256, "step": 64}], indirect=True)
def test_a_common_beginning_is_copied_instead_of_read(desk: Desk) -> None:
    system = [n % 50 for n in range(100)]
    desk.answer([*system, 60, 61], session="one")
    items = desk.answer([*system, 70, 71], session="two")
    assert (known(items), words(items), desk.model.copies) == (100, [72, 73, 74], 1)
    again = desk.answer([*system, 60, 61, 62, 63, 64, 65], session="one")
    assert known(again) >= 102
    assert desk.model.copies == 1


@pytest.mark.parametrize("desk", [{"can_copy": False, "can_cut": False}], indirect=True)
def test_a_model_that_cannot_forget_reads_anew_and_still_goes_on(desk: Desk) -> None:
    first = [1, 2, 3, 4]
    items = desk.answer(first, session="a")
    longer = [*first, *words(items)[:-1], 50, 51]
    assert known(desk.answer(longer, session="a")) == len(first) + 2
    assert words(desk.answer([1, 2, 9], session="a")) == [10, 11, 12]
    assert known(desk.answer([1, 2, 9, 10], session="a", most=0)) == 0


def test_prefill_leaves_the_last_token(desk: Desk) -> None:
    items = desk.answer([1, 2, 3, 4], most=0, session="a")
    assert (items[-1], words(items)) == (Done.LENGTH, [])
    assert known(desk.answer([1, 2, 3, 4], session="a")) == 3


@pytest.mark.parametrize("desk", [{"stepwise": True}], indirect=True)
def test_a_cancelled_one_is_gone_before_the_next_step(desk: Desk) -> None:
    allowed = desk.model.allowed
    assert allowed is not None
    stop = threading.Event()
    leaving = desk.ask([1, 2, 3], most=50, stop=stop, session="a")
    staying = desk.ask([11, 12, 13], most=50, session="b")
    for _ in range(4):
        allowed.put(None)
    until(lambda: len(desk.model.steps) == 4)
    stop.set()
    allowed.put(None)
    assert rest(leaving)[-1] is Done.LEFT
    allowed.put(None)
    until(lambda: len(desk.model.steps) == 6)
    # The fifth step was begun before the stop; the sixth is the other's alone.
    assert [len(rows) for rows in desk.model.steps[-1:]] == [1]
    assert desk.model.steps[-1][0].sequence == 1
    staying.stop.set()


@pytest.mark.parametrize("desk", [{"stepwise": True}], indirect=True)
def test_a_newcomer_is_read_while_the_others_go_on(desk: Desk) -> None:
    allowed = desk.model.allowed
    assert allowed is not None
    talking = [desk.ask([100 * n + 1], most=60, session=str(n)) for n in range(3)]
    for _ in range(3):
        allowed.put(None)
    until(lambda: len(desk.model.steps) == 3)
    newcomer = desk.ask(list(range(500, 520)), most=1, session="new")
    for _ in range(20):
        allowed.put(None)
    assert words(rest(newcomer)) == [520]
    with_newcomer = [rows for rows in desk.model.steps if any(r.sequence == 3 for r in rows)]
    assert [len(rows) for rows in with_newcomer] == [4] * 5
    assert all(len(rows[-1].tokens) <= 4 for rows in with_newcomer)
    for asked in talking:
        asked.stop.set()


@pytest.mark.parametrize("desk", [{"stepwise": True}], indirect=True)
def test_a_short_prompt_does_not_wait_for_a_long_one(desk: Desk) -> None:
    allowed = desk.model.allowed
    assert allowed is not None
    long = desk.ask(list(range(50)), most=1, session="long")
    for _ in range(2):
        allowed.put(None)
    until(lambda: len(desk.model.steps) == 2)
    short = desk.ask([700, 701, 702], most=1, session="short")
    for _ in range(40):
        allowed.put(None)
    assert words(rest(short)) == [703]
    assert words(rest(long)) == [50]
    # The step under way as it came, and its own.
    with_short = [
        at for at, rows in enumerate(desk.model.steps) if any(r.sequence == 1 for r in rows)
    ]
    assert with_short[0] <= 3
    assert len(desk.model.steps) < 2 + 50 // 4 + 3


@pytest.mark.parametrize(
    "priority", [Priority.PREEMPTIVE, Priority.SPECULATIVE, Priority.BACKGROUND]
)
@pytest.mark.parametrize("desk", [{"stepwise": True}], indirect=True)
def test_nobodys_early_work_takes_part_while_a_caller_waits(desk: Desk, priority: Priority) -> None:
    allowed = desk.model.allowed
    assert allowed is not None
    early = desk.ask([1, 2, 3], most=20, priority=priority, session="early")
    for _ in range(2):
        allowed.put(None)
    until(lambda: len(desk.model.steps) == 2)
    live = desk.ask([11, 12], most=10, session="live")
    for _ in range(60):
        allowed.put(None)
    assert words(rest(live)) == list(range(13, 23))
    assert words(rest(early)) == list(range(4, 24))
    # One step was under way when the caller came; his own ten are his alone.
    assert [len(rows) for rows in desk.model.steps[3:13]] == [1] * 10
    assert {rows[0].start for rows in desk.model.steps[3:13]} == {0, *range(2, 11)}


@pytest.mark.parametrize("desk", [{"stepwise": True}], indirect=True)
def test_an_answer_begun_early_takes_part_from_its_turns_end_on(desk: Desk) -> None:
    allowed = desk.model.allowed
    assert allowed is not None
    early = desk.ask([1, 2, 3], most=20, priority=Priority.PREEMPTIVE, session="early")
    allowed.put(None)
    until(lambda: len(desk.model.steps) == 1)
    live = desk.ask([11, 12], most=10, session="live")
    for _ in range(3):
        allowed.put(None)
    until(lambda: len(desk.model.steps) == 4)
    early.rank.raised()
    for _ in range(60):
        allowed.put(None)
    assert words(rest(live)) == list(range(13, 23))
    assert words(rest(early)) == list(range(4, 24))
    # Of the steps before the turn's end the caller who waits had one alone at least; then both.
    together = [len(rows) for rows in desk.model.steps]
    assert together[3] == 1
    assert together[5:9] == [2] * 4


@pytest.mark.parametrize("desk", [{"stepwise": True, "slots": 2}], indirect=True)
@pytest.mark.parametrize("priority", [Priority.PREEMPTIVE, Priority.SPECULATIVE])
def test_a_rooms_newer_request_takes_the_place_of_its_early_one(
    desk: Desk, priority: Priority
) -> None:
    allowed = desk.model.allowed
    assert allowed is not None
    for _ in range(3):
        allowed.put(None)
    hall = [500, 501, 502]
    assert words(desk.answer(hall, session="hall")) == [503, 504, 505]
    prompt = list(range(40))
    early = desk.ask(prompt, most=0, priority=priority, session="kitchen")
    until(lambda: len(desk.decoder._talks) == 1)
    live = desk.ask([*prompt, 60], session="kitchen")
    for _ in range(60):
        allowed.put(None)
    assert isinstance(rest(early)[-1], Superseded)
    items = rest(live)
    assert (known(items), words(items)) == (8, [61, 62, 63])
    # The hall's place is still its own.
    assert known(desk.answer([*hall, 503, 504, 9], session="hall")) == 5


def test_early_work_that_is_no_rooms_or_other_programs_is_not_overtaken(desk: Desk) -> None:
    assert words(desk.answer([10], priority=Priority.SPECULATIVE)) == [11, 12, 13]
    both = [desk.ask([20], most=9, priority=Priority.BACKGROUND, session="a") for _ in range(2)]
    assert words(desk.answer([30], session="a")) == [31, 32, 33]
    assert [len(words(rest(one))) for one in both] == [9, 9]


@pytest.mark.parametrize("code", [1, -1, 2])
def test_one_that_fails_disturbs_no_other(desk: Desk, code: int) -> None:
    desk.model.faulty = {777: code}
    rooms = [desk.ask([100 * n + 1, 100 * n + 2], most=40, session=str(n)) for n in range(3)]
    bad = desk.answer([700, 777, 701], session="bad")
    assert isinstance(bad[-1], ContextFull if code == 1 else ApplianceError)
    for n, asked in enumerate(rooms):
        assert words(rest(asked)) == [100 * n + 3 + k for k in range(40)]
    desk.model.faulty = {}
    assert words(desk.answer([700, 777, 701], session="bad")) == [702, 703, 704]


@pytest.mark.parametrize("desk", [{"stepwise": True}], indirect=True)
def test_one_whose_logits_are_no_numbers_ends_alone(desk: Desk) -> None:
    allowed = desk.model.allowed
    assert allowed is not None
    desk.model.numberless = frozenset({702})
    bad = desk.ask([700], most=9, temperature=1.0, session="bad")
    good = desk.ask([100], most=9, temperature=1.0, session="good")
    for _ in range(30):
        allowed.put(None)
    items = rest(bad)
    assert (words(items), type(items[-1])) == ([701, 702], Broken)
    assert words(rest(good)) == list(range(101, 110))
    desk.model.numberless = frozenset()
    assert words(desk.answer([700, 701, 702], session="bad")) == [703, 704, 705]


@pytest.mark.parametrize("temperature", [1e-8, 1e-300])
def test_a_temperature_next_to_nothing_is_none(desk: Desk, temperature: float) -> None:
    assert words(desk.answer([10, 11], temperature=temperature)) == [12, 13, 14]


def test_a_step_that_raises_ends_who_was_in_it_and_nobody_else(desk: Desk) -> None:
    good = desk.model.decode
    desk.model.decode = lambda rows: 1 // 0  # type: ignore[method-assign]
    assert isinstance(desk.answer([1, 2])[-1], ApplianceError)
    desk.model.decode = good  # type: ignore[method-assign]
    assert words(desk.answer([1, 2])) == [3, 4, 5]


def test_one_that_cannot_even_begin_is_told(desk: Desk) -> None:
    longer_than_the_window = list(range(WINDOW + 1))
    assert isinstance(desk.answer([*longer_than_the_window, 1])[-1], Broken)
    strange = Asked(np.array(["x"]), 3)
    desk.decoder.submit(strange)
    assert isinstance(rest(strange)[-1], Broken)
    assert words(desk.answer([1, 2])) == [3, 4, 5]


def test_four_rooms_with_faults_all_over(desk: Desk) -> None:
    desk.model.faulty = {777: -3, 778: 1}
    failures: list[object] = []
    ends: dict[int, set[object]] = {kind: set() for kind in range(4)}

    def room(number: int) -> None:
        base = 100 * number
        for turn in range(25):
            kind = (turn + number) % 4 if number % 2 else 0
            prompt = [base + k for k in range(3 + turn % 7)]
            if kind == 1:
                prompt[1] = 777 + turn // 4 % 2
            stop = threading.Event()
            if kind == 2:
                stop.set()
            asked = desk.ask(prompt, most=10, session=str(number), stop=stop)
            if kind == 3:
                asked.is_over = True
            items = rest(asked)
            ends[kind].add(items[-1] if isinstance(items[-1], Done) else type(items[-1]))
            expected = [prompt[-1] + 1 + k for k in range(10)]
            if kind == 0 and words(items) != expected:
                failures.append((number, turn, items))

    threads = [threading.Thread(target=room, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
        assert not thread.is_alive()
    assert not failures
    assert ends[0] == {Done.LENGTH}
    assert ends[1] == {Broken, ContextFull}
    assert ends[2] == {Done.LEFT}
    # Some are done before they can leave.
    assert ends[3] <= {Done.LEFT, Done.LENGTH}


def test_a_model_that_cannot_be_loaded_is_told() -> None:
    def load() -> tuple[PretendedModel, PretendedModel]:
        raise ApplianceError("model_unreadable", "No.")

    with pytest.raises(ApplianceError, match="No"):
        Decoder(load, slots=2, step_tokens=8).start()


def test_at_the_end_everybody_is_told() -> None:
    model = PretendedModel(allowed=SimpleQueue())
    desk = Desk(model, 1, 8)
    running, waiting = desk.ask([1], most=50), desk.ask([2], most=50)
    until(lambda: model.allowed is not None and not desk.decoder._inbox.qsize())
    closing = threading.Thread(target=desk.decoder.close)
    closing.start()
    assert model.allowed is not None
    for _ in range(3):
        model.allowed.put(None)
    assert (rest(running)[-1], rest(waiting)[-1]) == (Done.LEFT, Done.LEFT)
    closing.join(WAIT_S)
    assert not closing.is_alive()
    with pytest.raises(Empty):
        running.out.get_nowait()


def test_more_conversations_than_places_wait_for_one() -> None:
    slots = Slots(PretendedModel(), 3, WINDOW)
    prompt = np.array([1, 2, 3], np.int32)
    taken = [slots.take(str(n), prompt, background=False) for n in range(3)]
    assert [slot is not None for slot in taken] == [True, True, False]
    assert slots.take("x", prompt, background=True) is not None
    assert slots.take("y", prompt, background=True) is None


def test_one_room_twice_at_once_gets_two_places() -> None:
    slots = Slots(PretendedModel(), 4, WINDOW)
    prompt = np.array([1, 2, 3], np.int32)
    first = slots.take("a", prompt, background=False)
    second = slots.take("a", prompt, background=False)
    assert first is not None
    assert second is not None
    assert first is not second
    assert (first.session, second.session) == ("", "a")
