"""Whisper and its voice detector, called step by step."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance import logs
from appliance.errors import ApplianceError, BadInput, NotFound
from services.stt import rules
from services.stt.rooms import Rooms
from services.stt.steps import Steps, Writing
from services.stt.turnstile import Request, Turnstile
from services.stt.vocabulary import RATE_HZ, Manner, Passage, Samples, Span, Task, Window, Word

_log = logs.get(__name__)

_PROMPT_TOKENS = 200
# Marks that belong to the word after or before them; full-width ones end sentences in Chinese.
_OPENING = "\"'“¿([{-"
_CLOSING = "\"'.。,，!！?？:：”)]}、"  # noqa: RUF001
_NEEDED = ("model.bin", "config.json", "tokenizer.json")


@dataclass(frozen=True)
class _Heard:
    """A mel as the model hears it: so many frames, worth so many tokens at most."""

    encoded: Any
    frames: int
    cap: int


@dataclass(frozen=True)
class _Answer:
    """What one pass over a mel gave."""

    encoded: Any
    language: str
    tokens: tuple[int, ...]
    text: str
    avg_logprob: float
    no_speech_prob: float
    ratio: float
    capped: bool

    @property
    def is_doubtful(self) -> bool:
        return self.capped or self.ratio > rules.REPETITIVE


class Whisper:
    """One loaded model; any number of threads may call ``recognise``.

    Args:
        folder: a CTranslate2 conversion with its tokenizer.json.
        device: cpu or cuda.
        compute_type: CTranslate2's name.
        threads: CPU threads.

    Raises:
        NotFound: a file of the model is missing.
        ApplianceError: the library cannot load it.
    """

    def __init__(self, folder: Path, *, device: str, compute_type: str, threads: int) -> None:
        for name in _NEEDED:
            # Without its tokenizer faster-whisper asks the hub for one, for 25 s when offline.
            if not (folder / name).is_file():
                raise NotFound(
                    "model_incomplete",
                    f"The model folder {folder.name} has no {name}.",
                    "Fetch it again: scripts/appliance models pull.",
                )
        from faster_whisper import WhisperModel
        from faster_whisper.feature_extractor import FeatureExtractor
        from faster_whisper.vad import get_vad_model

        try:
            self._model: Any = WhisperModel(
                str(folder),
                device=device,
                compute_type=compute_type,
                cpu_threads=threads,
                local_files_only=True,
            )
        except (RuntimeError, ValueError) as error:
            # Loading quotes files and shapes, never speech.
            _log.error("model_not_loaded", folder=folder.name, device=device, why=str(error))
            raise ApplianceError(
                "model_not_loaded",
                f"The model {folder.name} cannot be loaded on this {device}.",
                "Check its files: scripts/appliance models verify. "
                "The library's words: scripts/appliance logs stt.",
            ) from error
        mels = self._model.model.n_mels
        if self._model.feature_extractor.mel_filters.shape[0] != mels:
            # Large models hear 128 bands; their preprocessor_config.json is often left out.
            self._model.feature_extractor = FeatureExtractor(feature_size=mels)
        get_vad_model()
        self._turnstile = Turnstile()
        self.steps = Steps(self._model.model, self._turnstile)
        self._rooms = Rooms()
        self.languages: frozenset[str] = frozenset(self._model.supported_languages)

    def find_speech(self, samples: Samples) -> list[Span]:
        """Where Silero's detector hears a voice, in samples."""
        from faster_whisper.vad import VadOptions, get_speech_timestamps

        options = VadOptions(threshold=0.5, min_silence_duration_ms=160, speech_pad_ms=0)
        return [Span(s["start"], s["end"]) for s in get_speech_timestamps(samples, options)]

    def check(self, manner: Manner) -> None:
        """Refuse what this model cannot do.

        Raises:
            BadInput: the language is unknown to it.
        """
        if manner.language and manner.language not in self.languages:
            raise BadInput(
                "language_not_supported",
                f"This Whisper model does not know the language {manner.language!r}.",
                "Leave the language out to have it recognised, or choose a multilingual model."
                if len(self.languages) == 1
                else "Use a two-letter code such as en, or leave it out to have it recognised.",
            )

    def request(self, rank: int, stop: threading.Event) -> Request:
        """A place in line; the lowest rank goes first."""
        return Request(self._turnstile, rank, stop)

    def recognise(
        self, window: Window, manner: Manner, request: Request, room: str = ""
    ) -> Passage | None:
        """Write down one window; None if stopped on the way.

        Whisper's steps cannot be stopped, so whether to is looked at before and between them.

        Args:
            window: what is heard.
            manner: how to listen.
            request: its place in line, which is given up at the end.
            room: whose language may be known already; empty: nobody's.
        """
        try:
            request.expect()
            features = self._model.feature_extractor(window.samples)
            heard = features.shape[-1]
            frames = rules.frames_for(heard)
            answer = self._heard(features, frames, manner, request, room)
            # The same 30 s would give the same again.
            if answer is not None and answer.is_doubtful and frames < rules.FULL_FRAMES:
                answer = self._heard(features, rules.FULL_FRAMES, manner, request, room)
            if answer is None:
                return None
            if self._is_invented(answer, window, manner):
                return _passage(window, answer, text="", tokens=(), words=())
            words: tuple[Word, ...] | None = ()
            if manner.timed and answer.tokens:
                words = self._words(answer, manner.task, heard, window, request)
            if words is None:
                return None
            return _passage(window, answer, answer.text, answer.tokens, words)
        finally:
            request.over()

    def _heard(
        self, features: Samples, frames: int, manner: Manner, request: Request, room: str
    ) -> _Answer | None:
        from faster_whisper.audio import pad_or_trim

        encoded = self.steps.encode(request, pad_or_trim(features, frames))
        if encoded is None:
            return None
        heard = _Heard(encoded, frames, rules.token_cap(features.shape[-1], frames))
        known = manner.language or self._rooms.language(room)
        answer: _Answer | None = None
        if known:
            answer = self._written(heard, known, manner, request)
            if answer is None or manner.language or answer.avg_logprob >= rules.OTHER_LANGUAGE:
                return answer
        # A known language may be another by now.
        found = self._language(encoded, request)
        if found is None:
            return None
        other, sure = found
        if known and (other == known or sure < rules.SURE_LANGUAGE):
            return answer
        answer = self._written(heard, other, manner, request)
        believed = answer is not None and answer.avg_logprob >= rules.OTHER_LANGUAGE
        if believed and sure >= rules.SURE_LANGUAGE:
            self._rooms.learn(room, other)
        return answer

    def _is_invented(self, answer: _Answer, window: Window, manner: Manner) -> bool:
        voiced_s = sum(span.end - span.start for span in window.spans) / RATE_HZ
        pace = len(answer.tokens) / voiced_s
        if manner.temperature > 0:
            # Sampled text is less probable by intention.
            return rules.is_loop(answer.ratio, pace)
        return rules.is_invented(
            answer.text,
            avg_logprob=answer.avg_logprob,
            no_speech_prob=answer.no_speech_prob,
            ratio=answer.ratio,
            pace=pace,
        )

    def _language(self, encoded: Any, request: Request) -> tuple[str, float] | None:
        """The language that is spoken, and its probability; None if stopped."""
        if not self._model.model.is_multilingual:
            return "en", 1.0
        with self._turnstile.turn(request):
            if request.stop.is_set():
                return None
            best: tuple[str, float] = self._model.model.detect_language(encoded)[0][0]
        return best[0].strip("<|>"), best[1]

    def _tokenizer(self, task: Task, language: str) -> Any:
        from faster_whisper.tokenizer import Tokenizer

        multilingual = self._model.model.is_multilingual
        return Tokenizer(self._model.hf_tokenizer, multilingual, task=task, language=language)

    def _written(
        self, heard: _Heard, language: str, manner: Manner, request: Request
    ) -> _Answer | None:
        tokenizer = self._tokenizer(manner.task, language)
        said_before = tokenizer.encode(" " + manner.prompt.strip()) if manner.prompt.strip() else []
        prompt = self._model.get_prompt(
            tokenizer, said_before[-_PROMPT_TOKENS:], without_timestamps=True
        )
        # The end mark counts too: to align words Whisper reads all of it at once.
        most = min(heard.cap, rules.CONTEXT_TOKENS - len(prompt) - 1)
        writing = Writing(heard.encoded, prompt, most, manner.temperature)
        result = self.steps.write(request, writing, heard.frames)
        if result is None:
            return None
        # Written down together with a longer one it may have run beyond its own cap.
        sequence = result.sequences_ids[0][:most]
        tokens = tuple(t for t in sequence if t < tokenizer.eot)
        text = tokenizer.decode(list(tokens)).strip()
        count = len(result.sequences_ids[0])
        return _Answer(
            encoded=heard.encoded,
            language=language,
            tokens=tokens,
            text=text,
            avg_logprob=float(result.scores[0]) * count / (count + 1),
            no_speech_prob=float(result.no_speech_prob),
            ratio=rules.compression_ratio(text),
            capped=count >= most,
        )

    def _words(
        self, answer: _Answer, task: Task, heard: int, window: Window, request: Request
    ) -> tuple[Word, ...] | None:
        from faster_whisper.transcribe import merge_punctuations

        tokenizer = self._tokenizer(task, answer.language)
        with self._turnstile.turn(request):
            if request.stop.is_set():
                return None
            aligned = self._model.find_alignment(
                tokenizer, [list(answer.tokens)], answer.encoded, heard
            )[0]
        merge_punctuations(aligned, _OPENING, _CLOSING)
        first = window.spans[0].start / RATE_HZ
        words: list[Word] = []
        for item in aligned:
            if not item["word"]:
                continue
            # The first word is otherwise stretched over the silence before it.
            start = max(float(item["start"]), first)
            end = max(float(item["end"]), start)
            words.append(
                Word(
                    item["word"],
                    window.start_s + start,
                    window.start_s + end,
                    tuple(item["tokens"]),
                )
            )
        return tuple(words)


def _passage(
    window: Window,
    answer: _Answer,
    text: str,
    tokens: tuple[int, ...],
    words: tuple[Word, ...],
) -> Passage:
    return Passage(
        start_s=window.start_s + window.spans[0].start / RATE_HZ,
        end_s=window.start_s + window.spans[-1].end / RATE_HZ,
        text=text,
        tokens=tokens,
        words=words,
        language=answer.language,
        avg_logprob=answer.avg_logprob,
        no_speech_prob=answer.no_speech_prob,
        compression_ratio=answer.ratio,
    )
