"""Which language is spoken in which room, as far as it has been heard."""

from __future__ import annotations

import threading
from collections import OrderedDict

_MOST = 256


class Rooms:
    """Remembers the language of the rooms heard last; any thread may ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._languages: OrderedDict[str, str] = OrderedDict()

    def language(self, room: str) -> str:
        """ISO 639-1 code; empty if it is not known."""
        with self._lock:
            if room in self._languages:
                self._languages.move_to_end(room)
            return self._languages.get(room, "")

    def learn(self, room: str, language: str) -> None:
        """From now on this is the room's language."""
        if not room:
            return
        with self._lock:
            self._languages[room] = language
            self._languages.move_to_end(room)
            while len(self._languages) > _MOST:
                self._languages.popitem(last=False)
