"""How the language model is asked."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from livekit.agents import APIConnectionError, APIConnectOptions, llm

from appliance.personas import Example, Persona, Sampling
from appliance.settings import Settings
from appliance.store import Turn
from services.agent.apology import LLM_FAILED
from services.agent.mind import first_context, fit, make_mind
from tests.agent_fakes import WAIT_S, FakeLlm, serving

pytestmark = pytest.mark.unit

ROUTE = "/v1/chat/completions"
ONCE = APIConnectOptions(max_retry=0, timeout=WAIT_S)


def persona(**changes: object) -> Persona:
    values: dict[str, object] = {
        "name": "tester",
        "instructions": "Be brief.",
        "examples": [Example(user="Hi.", assistant="Hello.")],
        "sampling": Sampling(temperature=0.0, max_tokens=7, seed=3),
    }
    return Persona.model_validate({**values, **changes})


def turn(index: int, user: str | None, agent: str | None) -> Turn:
    return Turn(index, user, agent, False, datetime.now(UTC), None)


async def ask(settings: Settings, context: llm.ChatContext) -> str:
    mind = make_mind(settings, persona(), "s1")
    words = ""
    async with mind.chat(chat_ctx=context, conn_options=ONCE) as stream:
        async for chunk in stream:
            words += (chunk.delta.content or "") if chunk.delta else ""
    await mind.aclose()
    return words


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = Settings(data_dir=tmp_path)
    made.run_dir.mkdir()
    return made


async def test_the_request_has_the_shape_the_service_knows(settings: Settings) -> None:
    fake = FakeLlm("The ", "answer.")
    context = first_context(persona(), [])
    context.add_message(role="user", content="And you?")
    async with serving(settings.socket("llm"), ROUTE, fake.handle):
        assert await ask(settings, context) == "The answer."
    (body,) = fake.bodies
    assert [m["role"] for m in body["messages"]] == ["user", "assistant", "user"]
    assert body["max_tokens"] == 7
    assert (body["temperature"], body["top_p"], body["seed"]) == (0.0, 1.0, 3)
    assert body["model"] == "default"
    assert body["stream"] is True
    assert "tools" not in body
    headers = fake.headers[0]
    assert headers["X-Earshot-Session"] == "s1"
    assert headers["X-Earshot-Priority"] == "live"


@pytest.mark.parametrize("breaks_after", [0, 1])
async def test_a_stream_that_breaks_is_an_error_of_the_frameworks_kind(
    settings: Settings, breaks_after: int
) -> None:
    fake = FakeLlm("The ", "answer.")
    fake.breaks_after = breaks_after
    async with serving(settings.socket("llm"), ROUTE, fake.handle):
        with pytest.raises(APIConnectionError):
            await ask(settings, first_context(persona(), []))


async def test_no_service_is_an_error_of_the_frameworks_kind(settings: Settings) -> None:
    with pytest.raises(APIConnectionError):
        await ask(settings, first_context(persona(), []))


def test_a_resumed_call_shows_the_talk_without_the_greeting() -> None:
    turns = [turn(0, None, "Welcome."), turn(1, "What?", "That."), turn(2, "Why?", None)]
    context = first_context(persona(), turns)
    assert [message.text_content for message in context.messages()] == [
        "Hi.", "Hello.", "What?", "That.", "Why?",
    ]  # fmt: skip


def long_talk(messages: int) -> llm.ChatContext:
    context = first_context(persona(), [])
    context.items.insert(0, llm.ChatMessage(role="system", content=["Be brief."]))
    for number in range(messages):
        context.add_message(
            role="user" if number % 2 == 0 else "assistant", content=f"{number} " + "word " * 20
        )
    return context


def test_a_short_talk_is_shown_whole() -> None:
    context = long_talk(4)
    assert fit(context, 4096, frozenset()).items == context.items


def test_what_does_not_fit_is_forgotten_but_who_one_is() -> None:
    shown = fit(long_talk(101), 1000, frozenset()).messages()
    assert [m.text_content for m in shown[:3]] == ["Be brief.", "Hi.", "Hello."]
    assert shown[-1].text_content is not None
    assert shown[-1].text_content.startswith("100 ")
    assert len(shown) < 30


def test_the_shown_beginning_stays_for_several_turns() -> None:
    """So that the model need not read the whole talk anew at every turn."""
    starts = {fit(long_talk(n), 1000, frozenset()).items[3].text_content for n in range(61, 69, 2)}  # type: ignore[union-attr]
    assert len(starts) <= 2


def test_a_single_message_that_is_too_long_is_shown_all_the_same() -> None:
    context = llm.ChatContext.empty()
    context.add_message(role="user", content="word " * 10_000)
    assert len(fit(context, 1000, frozenset()).items) == 1


def test_hidden_messages_are_not_shown() -> None:
    context = llm.ChatContext.empty()
    greeting = context.add_message(role="assistant", content="Hello.")
    context.add_message(role="user", content="Hi.")
    assert len(fit(context, 1000, frozenset({greeting.id})).items) == 1


def test_a_resumed_talk_does_not_show_its_apologies() -> None:
    context = first_context(persona(examples=[]), [turn(0, "Hello?", LLM_FAILED.words)])
    assert [item.role for item in context.messages()] == ["user"]


def test_a_talk_with_failed_turns_is_shown_with_alternating_roles() -> None:
    earlier = [turn(0, "Hello?", LLM_FAILED.words), turn(1, "Are you there?", None)]
    context = first_context(persona(), earlier)
    # The framework notes that an agent begins, between the turns of before and those of now.
    context.items.append(llm.AgentConfigUpdate(instructions="Be brief."))
    context.add_message(role="user", content="Now?")
    context.add_message(role="assistant", content="Yes.", interrupted=True)
    context.add_message(role="assistant", content="I am here.")
    before = context.copy().items
    shown = [(m.role, m.text_content) for m in fit(context, 4096, frozenset()).messages()]
    assert shown[2:] == [
        ("user", "Hello?\nAre you there?\nNow?"),
        ("assistant", "Yes.\nI am here."),
    ]
    assert [role for role, _ in shown] == ["user", "assistant"] * 2
    assert context.items == before


async def test_joined_messages_are_sent_as_one_text(settings: Settings) -> None:
    fake = FakeLlm("Yes.")
    context = first_context(persona(examples=[]), [turn(0, "Hello?", None), turn(1, "Now?", None)])
    async with serving(settings.socket("llm"), ROUTE, fake.handle):
        await ask(settings, fit(context, 4096, frozenset()))
    assert fake.bodies[0]["messages"] == [{"role": "user", "content": "Hello?\nNow?"}]


def test_instructions_are_not_joined_with_each_other() -> None:
    context = llm.ChatContext.empty()
    context.add_message(role="system", content="Be brief.")
    context.add_message(role="system", content="Be kind.")
    assert len(fit(context, 4096, frozenset()).items) == 2


def test_a_long_talk_with_a_failed_turn_still_begins_with_a_question() -> None:
    context = long_talk(101)
    # The first answer is missing, so every block that is dropped ends with a question.
    del context.items[4]
    roles = [m.role for m in fit(context, 1000, frozenset()).messages()]
    assert roles == ["system", *["user", "assistant"] * (len(roles) // 2 - 1), "user"]
