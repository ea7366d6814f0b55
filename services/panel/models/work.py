"""Fetching and checking models in the background: one piece of work per model, seen by every page."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from appliance import logs
from appliance.catalogue.installed import Catalogue, InstalledModel
from appliance.catalogue.pulling import PullEvent, pull_model
from appliance.errors import ApplianceError, BadInput, NotFound
from appliance.settings import Settings

log = logs.get(__name__)

Kind = Literal["pull", "verify"]
State = Literal["waiting", "running", "checking", "done", "failed", "cancelled"]
Fetch = Callable[..., Iterator[PullEvent]]

_AT_ONCE = 3
_BLOCK = 4 << 20
_STEP = 200
"""A page is told each time another of so many parts is done."""
_NO_INTERNET = (
    "This box may have no internet, which is fine: fetch the model on another machine and bring "
    "its files here with Upload below, or copy them into the models folder."
)


class BusyModel(ApplianceError):
    """Something is being done with this model already."""

    http_status = 409


@dataclasses.dataclass(frozen=True)
class Work:
    """How far a piece of work is. Bytes."""

    model: str
    kind: Kind
    state: State
    done: int = 0
    total: int = 0
    message: str = ""
    hint: str = ""

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come."""
        return self.state in ("done", "failed", "cancelled")

    def as_json(self) -> dict[str, Any]:
        """For pages and programs."""
        return {**dataclasses.asdict(self), "over": self.is_over}


class Workshop:
    """What is being done with models now, and how the last of it ended.

    Args:
        settings: the box's.
        tell: told of every change.
        fetch: fetches a model, as ``pull_model`` does.
    """

    def __init__(
        self,
        settings: Settings,
        tell: Callable[[Mapping[str, Any]], None],
        fetch: Fetch = pull_model,
    ) -> None:
        self._settings = settings
        self._tell = tell
        self._fetch = fetch
        self._known: dict[str, Work] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._children: dict[str, subprocess.Popen[str]] = {}
        self._cancelled: set[str] = set()
        self._lock = threading.Lock()

    def known(self) -> dict[str, Work]:
        """The latest work on each model."""
        return dict(self._known)

    def is_busy(self, model_id: str) -> bool:
        """Whether something is being done with this model."""
        return model_id in self._tasks

    def pull(self, model_id: str) -> Work:
        """Begin to fetch a model of the catalogue, or go on with it.

        Raises:
            NotFound: the catalogue does not know it.
            BadInput: it is here already.
            BusyModel: it is being fetched, or too many others are.
        """
        catalogue = Catalogue(self._settings)
        catalogue.entry(model_id)
        try:
            catalogue.find(model_id)
        except NotFound:
            return self._begin(Work(model_id, "pull", "waiting"), self._pull)
        raise BadInput("model_here", f"The model {model_id!r} is here already.")

    def verify(self, model_id: str) -> Work:
        """Begin to compare an installed model's files with their digests.

        Raises:
            NotFound: it is not here.
            BusyModel: something is being done with it, or too much with others.
        """
        model = Catalogue(self._settings).find(model_id)
        total = sum(path.stat().st_size for path in model.files.values())
        return self._begin(
            Work(model_id, "verify", "running", total=total), lambda work: self._verify(work, model)
        )

    def cancel(self, model_id: str) -> Work:
        """Stop fetching or checking; what was fetched is kept for the next time.

        Raises:
            NotFound: nothing is being done with this model.
        """
        if model_id not in self._tasks:
            raise NotFound("nothing_to_cancel", f"Nothing is being done with {model_id!r}.")
        with self._lock:
            self._cancelled.add(model_id)
            child = self._children.get(model_id)
        if child is not None and child.poll() is None:
            child.terminate()
        return self._known[model_id]

    async def close(self) -> None:
        """Stop everything that is under way; a fetch goes on at the next pull."""
        for model_id in list(self._tasks):
            self.cancel(model_id)
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _begin(self, work: Work, run: Callable[[Work], None]) -> Work:
        if work.model in self._tasks:
            raise BusyModel("model_busy", f"Something is being done with {work.model!r} already.")
        if len(self._tasks) >= _AT_ONCE:
            raise BusyModel(
                "too_many_pulls", f"{_AT_ONCE} models are being fetched or checked already.",
                "Wait until one of them is done.", can_retry=True,
            )  # fmt: skip
        with self._lock:
            self._cancelled.discard(work.model)
        self._note(work)
        task = asyncio.create_task(asyncio.to_thread(run, work), name=f"models.{work.kind}")
        self._tasks[work.model] = task
        task.add_done_callback(lambda _task: self._tasks.pop(work.model, None))
        return work

    def _pull(self, work: Work) -> None:
        """In a thread."""

        def child_is(child: subprocess.Popen[str]) -> None:
            with self._lock:
                self._children[work.model] = child
                gone = work.model in self._cancelled
            if gone:
                child.terminate()

        try:
            for event in self._fetch(work.model, self._settings.models_path, on_child=child_is):
                work = dataclasses.replace(
                    work, state=_STATES.get(event.kind, "running"),
                    done=event.done or work.done, total=event.total or work.total,
                )  # fmt: skip
                self._note(work)
        except ApplianceError as error:
            if self._is_cancelled(work.model):
                self._note(dataclasses.replace(work, state="cancelled"))
            else:
                self._note(_failed(work, error))
        else:
            self._note(dataclasses.replace(work, state="done", done=work.total))
        finally:
            with self._lock:
                self._children.pop(work.model, None)

    def _verify(self, work: Work, model: InstalledModel) -> None:
        """In a thread."""
        try:
            self._note(self._checked(work, model))
        except OSError as error:
            log.warning("verify_failed", model=work.model, errno=error.errno)
            said = "A file of it cannot be read."
            hint = "Check the disk and the files' owner."
            self._note(dataclasses.replace(work, state="failed", message=said, hint=hint))

    def _checked(self, work: Work, model: InstalledModel) -> Work:
        expected = model.expected()
        for path in model.files.values():
            digest = hashlib.sha256()
            for block in _blocks(path):
                if self._is_cancelled(work.model):
                    return dataclasses.replace(work, state="cancelled")
                digest.update(block)
                work = self._further(work, len(block))
            if path in expected and digest.hexdigest() != expected[path]:
                return _damaged(work, path)
        said = "Every file has the digest that it should have."
        if len(expected) < len(model.files):
            said = "Its files can be read; nobody has stated digests to compare them with."
        return dataclasses.replace(work, state="done", done=work.total, message=said)

    def _further(self, work: Work, count: int) -> Work:
        step = max(1, work.total // _STEP)
        further = dataclasses.replace(work, done=work.done + count)
        if further.done // step != work.done // step:
            self._note(further)
        return further

    def _is_cancelled(self, model_id: str) -> bool:
        with self._lock:
            return model_id in self._cancelled

    def _note(self, work: Work) -> None:
        self._known[work.model] = work
        self._tell(work.as_json())


_STATES: dict[str, State] = {
    "waiting": "waiting", "progress": "running", "checking": "checking", "already": "checking",
    "done": "checking",
}  # fmt: skip


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            yield block


def _failed(work: Work, error: ApplianceError) -> Work:
    hint = error.hint
    if error.code.endswith("_unreachable"):
        hint = f"{hint} {_NO_INTERNET}".strip()
    return dataclasses.replace(work, state="failed", message=error.message, hint=hint)


def _damaged(work: Work, path: Path) -> Work:
    return dataclasses.replace(
        work, state="failed", message=f"The file {path.name} is damaged: its digest is wrong.",
        hint="Delete the model and fetch or upload it again.",
    )  # fmt: skip
