"""`appliance call`: place a real call with recordings and time the answers."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from appliance.calling import Caller, TurnReport
    from appliance.headset import Clip


@dataclass(frozen=True)
class _Result:
    session_id: str
    state: str
    turns: list[TurnReport]

    @property
    def complete(self) -> bool:
        return all(turn.complete for turn in self.turns)


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def call(
        files: Annotated[list[Path], typer.Argument(help="Recordings to speak, in order.")],
        out: Annotated[
            Path | None, typer.Option(help="Write what the agent said to this wav.")
        ] = None,
        persona: Annotated[str | None, typer.Option(help="Who shall answer.")] = None,
        as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    ) -> None:
        """Join a real room, speak each file, wait for each answer, print the times of the turns.

        Exit code 0; 1 an answer is missing; 2 bad input; 3 the box is not ready.
        """
        from appliance.calling import Caller
        from appliance.headset import Clip
        from appliance.running import as_started
        from appliance.secrets import known_local_token
        from appliance.settings import load_settings

        settings = load_settings()
        clips = [Clip.read(path) for path in files]
        if out is not None:
            _try_to_write(out)
        front = f"http://127.0.0.1:{as_started(settings).front.http_port}"
        token = known_local_token(settings)

        async def place() -> _Result:
            return await _place(Caller(front, persona, token=token), clips, out, show=not as_json)

        result = asyncio.run(place())
        if as_json:
            typer.echo(json.dumps(asdict(result), ensure_ascii=False))
        raise typer.Exit(0 if result.complete and result.state == "completed" else 1)


def _try_to_write(out: Path) -> None:
    """Open the file before the call: afterwards it would be too late to say no."""
    from appliance.errors import BadInput

    existed = out.exists()
    try:
        with out.open("ab"):
            pass
    except OSError as error:
        raise BadInput(
            "out_not_writable", f"{out} cannot be written.", "Name a file in a folder of yours."
        ) from error
    if not existed:
        out.unlink()


async def _place(caller: Caller, clips: list[Clip], out: Path | None, *, show: bool) -> _Result:
    """One call to its end, however it ends; only a call that never began raises."""
    from appliance.audio import write_wav
    from appliance.calling import TurnReport
    from appliance.errors import ApplianceError, TimedOut

    turns: list[TurnReport] = []
    try:
        await caller.join()
        try:
            await _talk(caller, clips, turns, show=show)
            state = await caller.end()
        except ApplianceError as error:
            typer.echo(str(error), err=True)
            state = "timed_out" if isinstance(error, TimedOut) else "failed"
    finally:
        await caller.leave()
    if out is not None:
        write_wav(out, caller.ear.recording())
    if show:
        typer.echo(f"ended: {state}")
    unasked = [TurnReport(clip.name) for clip in clips[len(turns) :]]
    return _Result(caller.session_id, state, turns + unasked)


async def _talk(caller: Caller, clips: list[Clip], turns: list[TurnReport], *, show: bool) -> None:
    greeted = await caller.greeting()
    if show:
        typer.echo(f"call {caller.session_id}")
        after_ms = "none" if greeted is None else f"{round((greeted - caller.joined_at) * 1000)} ms"
        typer.echo(f"greeting heard after {after_ms}")
    for clip in clips:
        turns.append(await caller.ask(clip))
        if show:
            _show(turns[-1])


def _show(turn: TurnReport) -> None:
    typer.echo(f"\n{turn.file}")
    typer.echo(f"  heard     {turn.heard or '(nothing)'}")
    cut = " (interrupted)" if turn.interrupted else ""
    typer.echo(f"  answered  {turn.answered or '(nothing)'}{cut}")
    times = "  ".join(f"{name} {'-' if ms is None else ms}" for name, ms in turn.ms.items())
    typer.echo(f"  ms        {times}")
