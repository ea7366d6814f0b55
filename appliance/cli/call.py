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
    def call(  # noqa: PLR0913, PLR0917 - each option is an argument
        files: Annotated[list[Path], typer.Argument(help="Recordings to speak, in order.")],
        out: Annotated[
            Path | None, typer.Option(help="Write what the agent said to this wav.")
        ] = None,
        persona: Annotated[str | None, typer.Option(help="Who shall answer.")] = None,
        as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
        url: Annotated[
            str, typer.Option(help="A box elsewhere, e.g. https://192.168.1.20:8443.")
        ] = "",
        api_key_file: Annotated[
            Path | None, typer.Option(help="File with a key of that box that may place calls.")
        ] = None,
        ca: Annotated[
            Path | None, typer.Option(help="That box's own certificate authority, PEM.")
        ] = None,
    ) -> None:
        """Join a real room, speak each file, wait for each answer, print the times of the turns.

        Exit code 0; 1 an answer is missing; 2 bad input; 3 the box is not ready.
        """
        from appliance.calling import Caller
        from appliance.headset import Clip

        clips = [Clip.read(path) for path in files]
        if out is not None:
            _try_to_write(out)
        front, token = _elsewhere(url, api_key_file, ca) if url else _here(api_key_file, ca)

        async def place() -> _Result:
            caller = Caller(front, persona, token=token, ca=ca)
            return await _place(caller, clips, out, show=not as_json)

        result = asyncio.run(place())
        if as_json:
            typer.echo(json.dumps(asdict(result), ensure_ascii=False))
        raise typer.Exit(0 if result.complete and result.state == "completed" else 1)


def _here(api_key_file: Path | None, ca: Path | None) -> tuple[str, str]:
    """Address and token of this machine's box."""
    from appliance.errors import BadInput
    from appliance.running import as_started
    from appliance.secrets import known_local_token
    from appliance.settings import load_settings

    if api_key_file or ca:
        raise BadInput(
            "no_url", "A key or an authority was given, but no --url.", "Give that, too."
        )
    settings = load_settings()
    port = as_started(settings).front.http_port
    return f"http://127.0.0.1:{port}", known_local_token(settings)


def _elsewhere(url: str, api_key_file: Path | None, ca: Path | None) -> tuple[str, str]:
    """Address and key of another box; its authority is trusted from now on."""
    import ssl

    from appliance.errors import BadInput
    from appliance.settings import trust_only

    if not url.startswith(("https://", "http://")) or api_key_file is None:
        raise BadInput(
            "url_without_key", "A box elsewhere needs its address, with https://, and a key.",
            "Make a key that may place calls on its page Access; give its file with --api-key-file.",
        )  # fmt: skip
    try:
        key = api_key_file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(
            "key_unreadable",
            f"{api_key_file} cannot be read.",
            "It holds the key and nothing else.",
        ) from error
    if ca is not None:
        try:
            ssl.create_default_context(cafile=ca)
        except (OSError, ssl.SSLError) as error:
            raise BadInput(
                "ca_unreadable", f"{ca} holds no certificate.",
                "Give the root.crt that the box's plain http page hands out.",
            ) from error  # fmt: skip
        trust_only(ca.absolute())
    return url.rstrip("/"), key


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
