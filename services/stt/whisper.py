"""Whisper and its voice detector, called step by step."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance import logs
from appliance.errors import ApplianceError, BadInput, NotFound
from services.stt import rules
from services.stt.turnstile import Turnstile
from services.stt.vocabulary import RATE_HZ, Manner, Passage, Samples, Span, Task, Window, Word

_log = logs.get(__name__)

_PROMPT_TOKENS = 200
# Marks that belong to the word after or before them; full-width ones end sentences in Chinese.
_OPENING = "\"'“¿([{-"
_CLOSING = "\"'.。,，!！?？:：”)]}、"  # noqa: RUF001
_NEEDED = ("model.bin", "config.json", "tokenizer.json")


@dataclass(frozen=True)
class _Answer:
    """What one pass over a mel gave."""

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

    def recognise(
        self, window: Window, manner: Manner, rank: int, stop: threading.Event
    ) -> Passage | None:
        """Write down one window; None if stopped on the way.

        Whisper's steps cannot be stopped, so ``stop`` is looked at before and between them.
        """
        features = self._model.feature_extractor(window.samples)
        heard = features.shape[-1]
        frames = rules.frames_for(heard)
        encoded = self._encode(features, frames, rank, stop)
        if encoded is None:
            return None
        language = manner.language or self._language(encoded, rank)
        tokenizer = self._tokenizer(manner.task, language)
        answer = self._generate(encoded, tokenizer, manner, rules.token_cap(heard), rank, stop)
        if answer is not None and answer.is_doubtful:
            encoded = self._encode(features, rules.FULL_FRAMES, rank, stop)
            if encoded is None:
                return None
            answer = self._generate(encoded, tokenizer, manner, rules.CONTEXT_TOKENS, rank, stop)
        if answer is None:
            return None
        if self._is_invented(answer, window, manner):
            return _passage(window, answer, language, text="", tokens=(), words=())
        words: tuple[Word, ...] = ()
        if manner.timed and answer.tokens:
            words = self._words(encoded, tokenizer, answer.tokens, heard, window, rank)
        return _passage(window, answer, language, answer.text, answer.tokens, words)

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

    def _encode(self, features: Any, frames: int, rank: int, stop: threading.Event) -> Any | None:
        from faster_whisper.audio import pad_or_trim

        padded = pad_or_trim(features, frames)
        with self._turnstile.turn(rank):
            return None if stop.is_set() else self._model.encode(padded)

    def _language(self, encoded: Any, rank: int) -> str:
        if not self._model.model.is_multilingual:
            return "en"
        with self._turnstile.turn(rank):
            best: str = self._model.model.detect_language(encoded)[0][0][0]
        return best.strip("<|>")

    def _tokenizer(self, task: Task, language: str) -> Any:
        from faster_whisper.tokenizer import Tokenizer

        multilingual = self._model.model.is_multilingual
        return Tokenizer(self._model.hf_tokenizer, multilingual, task=task, language=language)

    def _generate(
        self,
        encoded: Any,
        tokenizer: Any,
        manner: Manner,
        cap: int,
        rank: int,
        stop: threading.Event,
    ) -> _Answer | None:
        said_before = tokenizer.encode(" " + manner.prompt.strip()) if manner.prompt.strip() else []
        prompt = self._model.get_prompt(
            tokenizer, said_before[-_PROMPT_TOKENS:], without_timestamps=True
        )
        longest = min(rules.CONTEXT_TOKENS, len(prompt) + cap)
        sampling: dict[str, Any] = {}
        if manner.temperature > 0:
            sampling = {"sampling_topk": 0, "sampling_temperature": manner.temperature}
        with self._turnstile.turn(rank):
            if stop.is_set():
                return None
            result = self._model.model.generate(
                encoded,
                [prompt],
                beam_size=1,
                max_length=longest,
                return_scores=True,
                return_no_speech_prob=True,
                suppress_blank=True,
                suppress_tokens=[-1],
                **sampling,
            )[0]
        tokens = tuple(t for t in result.sequences_ids[0] if t < tokenizer.eot)
        text = tokenizer.decode(list(tokens)).strip()
        count = len(result.sequences_ids[0])
        return _Answer(
            tokens=tokens,
            text=text,
            avg_logprob=float(result.scores[0]) * count / (count + 1),
            no_speech_prob=float(result.no_speech_prob),
            ratio=rules.compression_ratio(text),
            capped=len(prompt) + count >= longest,
        )

    def _words(
        self,
        encoded: Any,
        tokenizer: Any,
        tokens: tuple[int, ...],
        heard: int,
        window: Window,
        rank: int,
    ) -> tuple[Word, ...]:
        from faster_whisper.transcribe import merge_punctuations

        with self._turnstile.turn(rank):
            aligned = self._model.find_alignment(tokenizer, [list(tokens)], encoded, heard)[0]
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
    language: str,
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
        language=language,
        avg_logprob=answer.avg_logprob,
        no_speech_prob=answer.no_speech_prob,
        compression_ratio=answer.ratio,
    )
