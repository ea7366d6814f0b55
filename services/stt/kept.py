"""Where Whisper lay, kept for as long as the box runs: a restart is to find it there again."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from appliance import logs
from appliance.files import write_whole
from appliance.settings import Settings
from services.stt.device import Choice

log = logs.get(__name__)

_FILE = "stt-placed.json"


class Kept:
    """The compute type in which a model is on the card.

    It counts for the same model, wished for in the same way, in the same run of the box: then the
    language model was placed beside it and its room is still its own.

    Args:
        settings: the box's.
        model_id: the model.
        weights: bytes of its file.
    """

    def __init__(self, settings: Settings, model_id: str, weights: int) -> None:
        self._path = settings.run_dir / _FILE
        self._of = [model_id, weights, settings.stt.compute_type, _run(settings.run_dir)]

    def take(self) -> str:
        """The compute type, or empty. It is forgotten: what then fails to load is chosen anew."""
        try:
            known = json.loads(self._path.read_text(encoding="utf-8"))
            computes_in = str(known["computes_in"]) if known["of"] == self._of else ""
        except (OSError, ValueError, KeyError, TypeError):
            computes_in = ""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)
        return computes_in

    def keep(self, choice: Choice) -> None:
        """Remember a model that works; on the processor there is nothing to remember."""
        if choice.device != "cuda":
            return
        try:
            write_whole(
                self._path, json.dumps({"of": self._of, "computes_in": choice.compute_type})
            )
        except OSError as error:
            # It works all the same; only a restart will ask anew.
            log.warning("placing_not_kept", errno=error.errno)


def _run(run_dir: Path) -> int:
    """Which run of the box this is; 0: none."""
    with suppress(OSError):
        # Rendered at each start of the box and never in between.
        return (run_dir / "supervisord.conf").stat().st_mtime_ns
    return 0
