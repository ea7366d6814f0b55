"""The language model: how it is asked, and how much of the talk it is shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import httpx2
import openai as openai_sdk
from livekit.agents import APIConnectOptions, llm
from livekit.plugins import openai

from appliance import logs
from appliance.elsewhere import NO_THINKING, root
from appliance.personas import Persona
from appliance.settings import Settings
from appliance.store import Turn
from services.agent.apology import LINES
from services.agent.patience import Patience, PatientTransport
from services.agent.rank import LIVE, Rank
from services.agent.upstream import SESSION_HEADER

log = logs.get(__name__)

_APOLOGIES = frozenset(line.words for line in LINES)
EXAMPLE_PREFIX = "example-"
# English has about four characters a token; other languages, and small vocabularies, fewer.
_CHARS_PER_TOKEN = 3.0
_TOKENS_PER_MESSAGE = 8
_MARGIN_TOKENS = 64
# What is dropped is dropped in blocks: the shown history then keeps its beginning, and the
# model its cache, for several turns.
_BLOCK = 8
# The framework's own notes in a talk, which no model is sent.
_NOTES = ("agent_config_update", "agent_handoff")
_READ_AHEAD_S = 30.0


def make_mind(
    settings: Settings,
    persona: Persona,
    session_id: str,
    *,
    rank: Callable[[], Rank] = lambda: LIVE,
    prefill: bool = False,
) -> openai.LLM:
    """The language model of one call, over the service's socket or the set address.

    Args:
        settings: the box's.
        persona: who answers.
        session_id: the call.
        rank: how soon the answer to the next request is needed.
        prefill: only read the prompt, so that it is known when the first question comes.
    """
    url = settings.llm.url
    # A unix socket shows no certificate; reading the authorities would hold the call up.
    transport = None
    if not url:
        socket = httpx2.AsyncHTTPTransport(uds=str(settings.socket("llm")), verify=False)
        known = (lambda: Rank("speculative")) if prefill else rank
        transport = PatientTransport(socket, Patience(settings), known)
    client = openai_sdk.AsyncClient(
        # The client refuses to be without one; a server that asks for none takes any.
        api_key=settings.llm.api_key.get_secret_value() or "local",
        base_url=(root(settings.llm) or "http://llm") + "/v1",
        max_retries=0,
        http_client=httpx2.AsyncClient(transport=transport, trust_env=False),
    )
    sampling = persona.sampling
    body: dict[str, object] = {"max_tokens": 0 if prefill else sampling.max_tokens}
    if sampling.seed is not None:
        body["seed"] = sampling.seed
    if url and settings.llm.no_thinking:
        body.update(NO_THINKING)
    return openai.LLM(
        # The box's own service has one model; which one, the switcher decides.
        model=persona.model or (settings.llm.model if url else "default"),
        client=client,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        extra_body=body,
        extra_headers={SESSION_HEADER: session_id},
    )


async def read_ahead(
    settings: Settings, persona: Persona, session_id: str, context: llm.ChatContext
) -> None:
    """Let the box's own model read the prompt while the greeting is spoken."""
    if settings.llm.url:
        return
    mind = make_mind(settings, persona, session_id, prefill=True)
    quickly = APIConnectOptions(max_retry=0, timeout=_READ_AHEAD_S)
    try:
        async with mind.chat(chat_ctx=context, conn_options=quickly) as answer:
            async for _ in answer:
                pass
    except Exception as error:  # noqa: BLE001 - a talk never suffers from what only makes it quicker
        # The first question is then only slower; a model that is down is said when it is asked.
        log.info("not_read_ahead", error=type(error).__name__)
    finally:
        await mind.aclose()


def first_context(persona: Persona, turns: Sequence[Turn]) -> llm.ChatContext:
    """The persona's examples as if they had been said, then the call's earlier turns."""
    context = llm.ChatContext.empty()
    for number, example in enumerate(persona.examples):
        context.add_message(role="user", content=example.user, id=f"{EXAMPLE_PREFIX}{number}u")
        context.add_message(
            role="assistant", content=example.assistant, id=f"{EXAMPLE_PREFIX}{number}a"
        )
    for turn in turns:
        # A greeting before anything was asked derails small models.
        if turn.user_text:
            context.add_message(role="user", content=turn.user_text)
            # A model that reads its own apologies goes on apologising.
            if turn.agent_text and turn.agent_text not in _APOLOGIES:
                context.add_message(
                    role="assistant", content=turn.agent_text, interrupted=turn.interrupted
                )
    return context


def fit(context: llm.ChatContext, budget_tokens: int, hidden: frozenset[str]) -> llm.ChatContext:
    """What the model is shown: instructions, examples and the latest talk that has room.

    Args:
        context: the whole talk; not changed.
        budget_tokens: room for it all, in tokens, by a careful estimate.
        hidden: ids of messages that were spoken but are none of the model's business.
    """
    items = [item for item in context.items if item.id not in hidden and item.type not in _NOTES]
    kept = [item for item in items if _is_pinned(item)]
    talk = [item for item in items if not _is_pinned(item)]
    room = budget_tokens - _MARGIN_TOKENS - sum(map(_tokens, kept))
    drop = 0
    while drop < len(talk) - 1 and sum(map(_tokens, talk[drop:])) > room:
        drop = min(drop + _BLOCK, len(talk) - 1)
    # After a failed turn a block may end with a question; its answer alone says nothing.
    while 0 < drop < len(talk) - 1 and not _is_said_by(talk[drop], "user"):
        drop += 1
    return llm.ChatContext(_joined([*kept, *talk[drop:]]))


def _joined(items: Sequence[llm.ChatItem]) -> list[llm.ChatItem]:
    """Neighbours of the same role as one message: the templates of many models refuse two in a row.

    They are left when an answer fails, or is cut before it is heard. The box's own service would
    join them in the same way, so its cache does not notice.
    """
    found: list[llm.ChatItem] = []
    for item in items:
        last = found[-1] if found else None
        if (
            isinstance(item, llm.ChatMessage)
            and isinstance(last, llm.ChatMessage)
            and item.role == last.role
            and item.role in ("user", "assistant")
        ):
            # The parts of one message are sent with a line break between them.
            content = [*last.content, *item.content]
            found[-1] = last.model_copy(update={"content": content})
        else:
            found.append(item)
    return found


def _is_said_by(item: llm.ChatItem, role: str) -> bool:
    return isinstance(item, llm.ChatMessage) and item.role == role


def _is_pinned(item: llm.ChatItem) -> bool:
    return item.id.startswith(EXAMPLE_PREFIX) or (
        isinstance(item, llm.ChatMessage) and item.role in ("system", "developer")
    )


def _tokens(item: llm.ChatItem) -> float:
    text = item.text_content or "" if isinstance(item, llm.ChatMessage) else ""
    return len(text) / _CHARS_PER_TOKEN + _TOKENS_PER_MESSAGE
