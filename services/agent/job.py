"""What a job's process does: makes itself ready once, then holds one call."""

from __future__ import annotations

import importlib

from livekit.agents import JobContext, JobProcess, JobRequest, inference, tokenize, utils

from appliance import logs
from appliance.errors import BadInput
from appliance.settings import load_settings, seal_environment
from appliance.store import Store
from services.agent.apology import load_sounds
from services.agent.call import Call, Equipment, Plan
from services.agent.talk import Detectors

AGENT_NAME = "appliance"
log = logs.get(__name__)
# The turn detector refuses less.
_PAUSE_S = 0.25
_EQUIPMENT = "equipment"
_CALL = "call"
# What libraries import and build at their first use would be in the middle of a call: 0.1 s, several
# times that when callers come together. Here it is done once, in the process that jobs are forked from.
for _name in (
    "anyio._backends._asyncio", "httpcore2", "jiter", "openai.lib.streaming.chat", "openai.pagination",
    "openai.resources.chat.chat", "truststore",
):  # fmt: skip
    importlib.import_module(_name)
tokenize.basic.hyphenate_word("hyphenation")


def prepare(process: JobProcess) -> None:
    """Load all that can be loaded before a caller comes."""
    # A job's process is forked from a server of its own; it starts with nothing of ours set.
    seal_environment()
    settings = load_settings()
    logs.configure("agent", settings.log_level)
    load_sounds()
    process.userdata[_EQUIPMENT] = Equipment(
        settings=settings,
        store=Store(settings.store_url),
        detectors=Detectors(
            ear=inference.VAD(min_silence_duration=_PAUSE_S),
            session=inference.VAD(min_silence_duration=_PAUSE_S),
        ),
    )


async def accept(request: JobRequest) -> None:
    """Take the call under a name of its own."""
    await request.accept(name="Earshot", identity=f"agent-{utils.shortuuid()}")


async def hold_call(ctx: JobContext) -> None:
    """The job: one call."""
    try:
        plan = Plan.read(ctx.job.metadata)
    except BadInput as error:
        log.error("call_refused", code=error.code, why=str(error))
        ctx.shutdown(error.message)
        return
    call = Call(ctx, plan, ctx.proc.userdata[_EQUIPMENT])
    ctx.proc.userdata[_CALL] = call
    await call.run()


async def end_call(ctx: JobContext) -> None:
    """The job is over, whatever ended it; the room is still joined."""
    call = ctx.proc.userdata.get(_CALL)
    if isinstance(call, Call):
        await call.finish()
