"""One request in, a stream of chunks out, stoppable between chunks."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar, final

if TYPE_CHECKING:
    from appliance.serving.scheduler import Scheduler

Req = TypeVar("Req")
Chunk = TypeVar("Chunk")


class Engine(ABC, Generic[Req, Chunk]):
    """A model behind a service. Its hooks run in worker threads, never on the event loop."""

    name: ClassVar[str]
    concurrency: int = 1
    """Requests running at once, each in its own worker thread."""
    queue_limit: int = 32
    """Requests waiting at once; one more is answered 503."""
    scheduler: Scheduler[Req, Chunk]
    """Set by ``create_app``."""

    @final
    def prepare(self) -> None:
        """Load the model and try it."""
        self._load()
        self._sample()

    @final
    def run(self, request: Req, stop: threading.Event) -> Iterator[Chunk]:
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
    def _run(self, request: Req, stop: threading.Event) -> Iterator[Chunk]:
        """Answer one request; look at ``stop`` between chunks and return soon once it is set."""

    @abstractmethod
    def models(self) -> list[str]:
        """Ids for ``GET /v1/models``."""
