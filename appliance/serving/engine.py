"""One request in, a stream of chunks out, stoppable between chunks."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from enum import Enum
from typing import TYPE_CHECKING, ClassVar, Final, Generic, TypeVar, final

if TYPE_CHECKING:
    from appliance.serving.scheduler import Scheduler

Req = TypeVar("Req")
Chunk = TypeVar("Chunk")


class Pause(Enum):
    """Yielded between two chunks, where a background request may be put aside; nobody is sent it."""

    HERE = "here"


PAUSE: Final = Pause.HERE


class Engine(ABC, Generic[Req, Chunk]):
    """A model behind a service. Its hooks run in worker threads, never on the event loop."""

    name: ClassVar[str]
    concurrency: int = 1
    """Requests running at once, each in its own worker thread."""
    queue_limit: int = 32
    """Requests waiting at once; one more is answered 503."""
    background_at_once: int = 1
    """Background requests begun at once; the others wait until one of them has ended."""
    background_queue: int = 8
    """Background requests waiting at once, counted apart from the callers'."""
    scheduler: Scheduler[Req, Chunk]
    """Set by ``create_app``."""

    @final
    def prepare(self) -> None:
        """Load the model and try it."""
        self._load()
        self._sample()

    @final
    def run(self, request: Req, stop: threading.Event) -> Iterator[Chunk | Pause]:
        """Answer one request."""
        return self._run(request, stop)

    @abstractmethod
    def _load(self) -> None:
        """Import the library and load the model. Runs in the first worker thread.

        Raises:
            ApplianceError: its sentence becomes the reason shown in ``/readyz``.
        """

    @abstractmethod
    def _sample(self) -> None:
        """Put a real sample through the model; raise if the answer is implausible."""

    @abstractmethod
    def _run(self, request: Req, stop: threading.Event) -> Iterator[Chunk | Pause]:
        """Answer one request; look at ``stop`` between chunks and return soon once it is set.

        A background request may be left at any yield while others run on the same thread, and
        goes on afterwards. ``PAUSE`` is a place for that where there is no chunk to give.
        """

    @abstractmethod
    def models(self) -> list[str]:
        """Ids for ``GET /v1/models``."""
