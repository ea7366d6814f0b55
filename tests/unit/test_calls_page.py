"""The pages of calls: what they show, and that nothing said in a call is ever markup."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.store import EndState, Session, Turn
from appliance.store.vocabulary import Visit
from services.panel import callviews
from services.panel.calls import Job
from tests.panel_app import Panel, box_settings, running_panel

pytestmark = pytest.mark.unit
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{7*1111}}"


@pytest.fixture
async def panel(tmp_path: Path) -> AsyncIterator[Panel]:
    """A running panel."""
    async with running_panel(box_settings(tmp_path / "data")) as panel:
        yield panel


class Seen(HTMLParser):
    """A page as a browser would take it: elements, their attributes, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note it."""
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Note it."""
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of each element of this kind."""
        return [attributes for name, attributes in self.tags if name == tag]


async def page(panel: Panel, path: str) -> Seen:
    answer = await panel.http.get(path)
    assert answer.status_code == 200, answer.text
    return Seen(answer.text)


def said(panel: Panel, session: Session, user: str | None, agent: str | None, **ms: int) -> None:
    index = panel.store.turns.begin(session.id, user)
    panel.store.turns.finish(session.id, index, agent, interrupted=True, ms=dict(ms))


def hostile(panel: Panel, *, ended: bool) -> Session:
    """A call in which everything that people can write is markup."""
    call = panel.store.sessions.create(
        persona="default", keep_transcript=True, visit=Visit("page", HOSTILE[:80])
    )
    said(panel, call, HOSTILE, HOSTILE, transcript=5)
    panel.store.calls.judge(call.id, "caller", thumb=1, note=HOSTILE)
    panel.store.calls.judge(call.id, "owner", thumb=-1, note=HOSTILE)
    if ended:
        panel.store.sessions.end(call.id, EndState.FAILED, HOSTILE)
    return panel.store.sessions.get(call.id)


@pytest.mark.parametrize("ended", [True, False])
async def test_what_people_say_is_never_markup(panel: Panel, ended: bool) -> None:
    call = hostile(panel, ended=ended)
    for path in (
        "/calls", "/calls/live", f"/calls/{call.id}", f"/calls/{call.id}/words",
        "/calls?q=%3Cscript%3E&state=", "/calls?q=%27%22%3E%3Cimg&state=",
    ):  # fmt: skip
        seen = await page(panel, path)
        assert [tag for tag in seen.all("img") if tag.get("src") == "x"] == [], path
        assert all((tag.get("src") or "").startswith("/static/") for tag in seen.all("script"))
        assert "7777" not in seen.text
        assert not any(
            name.startswith(("on", "hx-on", "style"))
            for _, attributes in seen.tags
            for name in attributes
        )
    assert "<script>alert(1)</script>" in (await page(panel, f"/calls/{call.id}")).text


async def test_the_list_says_who_how_long_and_what_they_thought(panel: Panel) -> None:
    call = panel.store.sessions.create(
        persona="default", keep_transcript=True, visit=Visit("link", "Frau Müller")
    )
    said(panel, call, "Where is the X-ray room?", "On the second floor.")
    panel.store.sessions.end(call.id, EndState.CALLER_LEFT)
    panel.store.calls.judge(call.id, "caller", thumb=1, note="")
    seen = await page(panel, "/calls")
    for words in ("Frau Müller", "caller left", "caller: up", "kept for 30 days", "Nobody is in a"):
        assert words in seen.text
    assert {"href": f"/calls/{call.id}"} in seen.all("a")
    assert "No call matches" in (await page(panel, "/calls?q=elevator")).text
    found = await panel.http.get("/calls", params={"q": "x-RAY"})
    assert "<mark>X-ray</mark>" in found.text


async def test_older_calls_are_a_link_away(panel: Panel) -> None:
    for number in range(3):
        call = panel.store.sessions.create(persona="default", keep_transcript=True)
        said(panel, call, f"number {number}", "yes")
        panel.store.sessions.end(call.id, EndState.COMPLETED)
    first = await page(panel, "/calls?limit=2&q=number")
    (older,) = [tag["href"] for tag in first.all("a") if "cursor" in (tag["href"] or "")]
    assert older is not None
    rest = await page(panel, older)
    assert "number 0" in rest.text
    assert "number 2" not in rest.text
    assert "/calls?q=number&state=ended" in [tag["href"] for tag in rest.all("a")]


async def test_a_live_call_is_shown_as_it_goes_and_is_ended(panel: Panel) -> None:
    session = await panel.talk()
    await panel.desk.job_began(session.id, job := Job(1, "agent-1"))
    await panel.watch.step()
    said(panel, session, "Are you there?", "I am.")
    live = await page(panel, "/calls/live")
    for words in ("The command on the box", "Are you there?", "I am.", "cut short", "listening"):
        assert words in live.text
    panel.store.turns.begin(session.id, "And now?")
    assert "answering" in (await page(panel, "/calls/live")).text
    whole = await page(panel, f"/calls/{session.id}")
    assert "The answer is under way." in whole.text
    (end,) = [tag for tag in whole.all("button") if (tag.get("hx-post") or "").endswith("/end")]
    assert end.get("data-confirm")
    job.gone.set()
    assert (await panel.http.post(end["hx-post"] or "")).status_code == 200
    assert "Nobody is in a call" in (await page(panel, "/calls/live")).text
    assert "the owner ended the call" in (await page(panel, f"/calls/{session.id}")).text


async def test_a_call_that_keeps_no_words_shows_none(panel: Panel) -> None:
    call = panel.store.sessions.create(persona="default", keep_transcript=False)
    said(panel, call, "My secret.", "Heard.", first_sound=900)
    assert "not kept, so they are not shown" in (await page(panel, "/calls/live")).text
    panel.store.sessions.end(call.id, EndState.COMPLETED)
    seen = await page(panel, f"/calls/{call.id}")
    assert "secret" not in seen.text
    assert "The persona keeps no words" in seen.text
    assert "Answered after 0.90 s" in seen.text


async def test_the_waterfall_says_what_was_not_measured(panel: Panel) -> None:
    call = panel.store.sessions.create(persona="default", keep_transcript=True)
    said(panel, call, "a", "b", transcript=545, end_of_turn=548, first_token=635, first_sound=2000)
    seen = await page(panel, f"/calls/{call.id}")
    for words in ("545 ms", "548 ms", "635 ms", "2000 ms", "first_clause", "at_ear"):
        assert words in seen.text
    assert seen.text.count("not measured") == 2
    assert len(seen.all("rect")) == 4
    last = seen.all("rect")[-1]
    assert last["x"] is not None
    assert last["width"] is not None
    assert float(last["x"]) + float(last["width"]) == pytest.approx(100, abs=0.1)


async def test_the_owner_judges_on_the_page(panel: Panel) -> None:
    call = hostile(panel, ended=True)
    path = f"/calls/{call.id}/feedback"
    kept = await panel.http.post(path, data={"thumb": "up", "note": "Read & kept"})
    assert kept.status_code == 200
    assert "Read &amp; kept" in kept.text
    now = panel.store.sessions.get(call.id)
    assert (now.owner_thumb, now.owner_note) == (1, "Read & kept")
    assert (await panel.http.post(path, data={"note": "x" * 2001})).status_code == 400
    await panel.http.post(path, data={"thumb": "", "note": ""})
    assert panel.store.sessions.get(call.id).owner_thumb is None


async def test_deletion_says_how_many_first(panel: Panel) -> None:
    for _ in range(2):
        call = panel.store.sessions.create(persona="default", keep_transcript=True)
        panel.store.sessions.end(call.id, EndState.COMPLETED)
    assert "There is no such call." in (await page(panel, "/calls/deletion")).text
    every = await page(panel, "/calls/deletion?older_than_days=")
    assert "This deletes 2 calls" in every.text
    (act,) = [tag["hx-post"] for tag in every.all("button") if "hx-post" in tag]
    gone = await panel.http.post(act or "")
    assert gone.headers["hx-redirect"] == "/calls?deleted=2"
    assert "2 calls were deleted" in (await page(panel, "/calls?deleted=2")).text
    for days in ("-1", "1.5", "x", "999999", "٣"):
        answer = await panel.http.post("/calls/deletion", params={"older_than_days": days})
        assert answer.status_code == 400


async def test_one_call_is_deleted_from_its_page(panel: Panel) -> None:
    call = hostile(panel, ended=True)
    gone = await panel.http.post(f"/calls/{call.id}/delete")
    assert gone.headers["hx-redirect"] == "/calls?deleted=1"
    assert (await panel.http.get(f"/calls/{call.id}")).status_code == 404


MS = st.one_of(st.none(), st.integers(-5000, 10**7))


@given(st.lists(st.dictionaries(st.sampled_from(list(callviews.STAGES)), MS), min_size=1))
def test_bars_never_leave_their_lane(turns: list[dict[str, int | None]]) -> None:
    now = datetime.now(UTC)
    made = [Turn(index, "a", "b", False, now, now, ms) for index, ms in enumerate(turns)]
    scale = callviews.scale_ms(made)
    for turn in made:
        bars = callviews.bars(turn, scale)
        assert [bar.name for bar in bars] == list(callviews.STAGES)
        for bar in bars:
            assert bar.ms == turn.ms.get(bar.name)
            assert bar.x >= 0
            assert bar.x + bar.width <= 100
            assert (bar.width > 0) == (bar.ms is not None)
