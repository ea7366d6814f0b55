"""The installed Piper voices, loaded when first asked for; the last few stay in memory."""

from __future__ import annotations

import threading
from collections import OrderedDict

from appliance.catalogue import Catalogue
from appliance.errors import NotFound
from appliance.settings import Settings
from services.tts.cores import Cores
from services.tts.voice import Voice

_KEPT = 3


class Voices:
    """The installed voices by id."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._catalogue = Catalogue(settings)
        self._cores = Cores(settings.tts.workers)
        self._loaded: OrderedDict[str, Voice] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def selected(self) -> str:
        """Id of the voice of a request that names none."""
        return self._catalogue.selected("tts")

    def installed(self) -> list[str]:
        """Ids of every voice that could be asked for."""
        return [model.id for model in self._catalogue.all_installed() if model.task == "tts"]

    def get(self, voice_id: str) -> Voice:
        """A voice, loaded if need be.

        Raises:
            NotFound: no such voice is installed.
            ApplianceError: its files cannot be used.
        """
        # One at a time: the second asker of a new voice waits instead of loading it again.
        with self._lock:
            if voice_id not in self._loaded:
                self._loaded[voice_id] = self._load(voice_id)
                if len(self._loaded) > _KEPT:
                    self._loaded.popitem(last=False)
            self._loaded.move_to_end(voice_id)
            return self._loaded[voice_id]

    def _load(self, voice_id: str) -> Voice:
        try:
            files = self._catalogue.installed("tts", voice_id).files
        except NotFound as error:
            others = ", ".join(self.installed()) or "none"
            raise NotFound(
                "voice_not_found", f"There is no voice {voice_id!r} here.",
                f"Installed voices: {others}. {error.hint}",
            ) from error  # fmt: skip
        return Voice(voice_id, files, self._settings.tts.gain, self._cores)
