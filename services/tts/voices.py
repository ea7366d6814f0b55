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
        self._loading = threading.Lock()

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
        if found := self._known(voice_id):
            return found
        # One at a time: the second asker of a new voice waits instead of loading it again.
        with self._loading:
            if found := self._known(voice_id):
                return found
            voice = self._load(voice_id)
            with self._lock:
                self._loaded[voice_id] = voice
                if len(self._loaded) > _KEPT:
                    self._loaded.popitem(last=False)
            return voice

    def _known(self, voice_id: str) -> Voice | None:
        # Never held while a voice loads: those who speak with another go on meanwhile.
        with self._lock:
            if voice_id in self._loaded:
                self._loaded.move_to_end(voice_id)
            return self._loaded.get(voice_id)

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
