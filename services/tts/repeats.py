"""Sentences that were spoken lately, for those that are spoken again."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

from appliance.audio import Samples

_FULL_SCALE = 32767
Key = tuple[str, float, bytes]


class Repeats:
    """The sound of the last sentences, in as much memory as it may take; 0 keeps none."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._size = 0
        self._kept: OrderedDict[Key, NDArray[np.int16]] = OrderedDict()
        self._lock = threading.Lock()

    @staticmethod
    def key(voice: str, speed: float, text: str) -> Key:
        """What a sentence is found by. The text itself is not kept."""
        return voice, speed, hashlib.blake2b(text.encode("utf-8", "replace")).digest()

    def get(self, key: Key) -> Samples | None:
        """The sentence's samples at its voice's rate, if it is kept."""
        with self._lock:
            found = self._kept.get(key)
            if found is None:
                return None
            self._kept.move_to_end(key)
        return np.multiply(found, 1 / _FULL_SCALE, dtype=np.float32)

    def put(self, key: Key, samples: Samples) -> None:
        """Keep a whole sentence; the longest unused ones give way."""
        sound = np.rint(np.clip(samples, -1, 1) * _FULL_SCALE).astype(np.int16)
        if sound.nbytes > self._limit:
            return
        with self._lock:
            old = self._kept.pop(key, None)
            self._size += sound.nbytes - (0 if old is None else old.nbytes)
            self._kept[key] = sound
            while self._size > self._limit:
                _key, oldest = self._kept.popitem(last=False)
                self._size -= oldest.nbytes
