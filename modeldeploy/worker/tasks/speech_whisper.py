"""Speech recognition by Whisper: languages, translation, timestamps, and sound of any length.

Sound longer than the 30 seconds that it hears at once it goes through at its own pace (section
3.8 of the paper), or, where ``chunk_length_s`` asks so, in overlapping parts that run together.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers.models.whisper.tokenization_whisper import TO_LANGUAGE_CODE

from modeldeploy.errors import InvalidRequest
from modeldeploy.schema.tasks.audio import SpeechChunk, SpeechRecognitionParameters, Transcript
from modeldeploy.worker.adapter import Item
from modeldeploy.worker.tasks.audio import Samples
from modeldeploy.worker.tasks.speech_parts import Stride, cut
from modeldeploy.worker.tasks.speech_writing import Writing


class Whisper(Writing):
    prompt_tokens = 4  # start, language, task, no timestamps

    def check(self, parameters: SpeechRecognitionParameters) -> None:
        self._check_language(parameters)
        self._check_times(parameters)
        longest = self.hearing.extractor.chunk_length
        if (parameters.chunk_length_s or 0) > longest:
            raise InvalidRequest(
                f"chunk_length_s: this model hears {longest:g} seconds at once", hint="lower it"
            )
        self.check_lengths(parameters)

    def _check_language(self, parameters: SpeechRecognitionParameters) -> None:
        if parameters.language is None and parameters.task is None:
            return
        if not getattr(self.generation, "is_multilingual", True):
            raise InvalidRequest(
                "language, task: this model knows English only", hint="leave both out"
            )
        if parameters.task and parameters.task not in getattr(self.generation, "task_to_id", {}):
            raise InvalidRequest(
                f"task: this model does not {parameters.task}", hint="leave it out"
            )
        known = getattr(self.generation, "lang_to_id", {})
        if parameters.language is not None and _token(parameters.language) not in known:
            codes = ", ".join(sorted(token.strip("<|>") for token in known)) or "none by name"
            raise InvalidRequest(
                f"language: this model does not know {parameters.language!r}",
                hint=f"it knows {codes}",
            )

    def _check_times(self, parameters: SpeechRecognitionParameters) -> None:
        asked = parameters.return_timestamps
        if not asked:
            return
        if asked == "char":
            raise InvalidRequest(
                'return_timestamps: Whisper takes true (segments) or "word"',
                hint='"char" is for CTC models',
            )
        if not hasattr(self.generation, "no_timestamps_token_id"):
            raise InvalidRequest(
                "return_timestamps: this model does not tell times", hint="leave it out"
            )
        if asked == "word" and not getattr(self.generation, "alignment_heads", None):
            raise InvalidRequest(
                "return_timestamps: this model does not tell the times of words",
                hint="true gives the times of segments",
            )

    def items(self, samples: Samples, parameters: SpeechRecognitionParameters) -> list[Item]:
        hearing, how = self.hearing, self.how(parameters)
        seconds = hearing.extractor.chunk_length
        if parameters.chunk_length_s is not None:
            asked = cut(parameters, seconds, hearing.rate, 1)
            return [self._item(*part, how) for part in asked.parts(samples, 1)]
        if len(samples) <= hearing.extractor.n_samples:
            return [self._item(samples, None, how)]
        if not hasattr(self.generation, "no_timestamps_token_id"):
            raise InvalidRequest(
                f"audio: this model does not tell times, and hears {seconds:g} seconds at once",
                hint="give chunk_length_s",
            )
        whole = hearing.features(
            samples, truncation=False, padding="longest", return_attention_mask=True
        )
        return [Item((whole, how, None), hearing.seconds(samples), object())]

    def _item(self, samples: Samples, stride: Stride | None, how: dict[str, Any]) -> Item:
        features = self.hearing.features(samples, return_attention_mask=True)
        size = int(self.hearing.extractor.chunk_length)
        return Item((features, how, stride), size, tuple(how.items()))

    def how(self, parameters: SpeechRecognitionParameters) -> dict[str, Any]:
        asked = {
            "language": parameters.language,
            "task": parameters.task,
            "return_timestamps": bool(self._times(parameters)) or None,
            "return_token_timestamps": self._times(parameters) == "word" or None,
        }
        decoding = super().how(parameters)
        if decoding.get("do_sample"):
            decoding.setdefault("temperature", 1.0)  # by which its own generate knows of sampling
        return {
            **decoding,
            **{key: value for key, value in asked.items() if value is not None},
        }

    def _times(self, parameters: SpeechRecognitionParameters) -> bool | str:
        own = getattr(self.generation, "return_timestamps", False)
        return parameters.return_timestamps or bool(own)

    def run(self, items: list[Item]) -> list[Any]:
        how = items[0].data[1]
        words = "return_token_timestamps" in how
        written = self.generate(items, how, **({"return_segments": True} if words else {}))
        rows = self.rows(items, written)
        times = _word_times(written) if words else [None] * len(items)
        return [
            self._raw(row, at, item.data[2])
            for row, at, item in zip(rows, times, items, strict=True)
        ]

    def _raw(self, row: Any, times: Any, stride: Stride | None) -> dict[str, Any]:
        """One output as the tokenizer's joining of parts takes it, strides in seconds."""
        raw: dict[str, Any] = {"tokens": row[None].cpu()}
        if times is not None:
            raw["token_timestamps"] = times[None].cpu()
        if stride is not None:
            rate = self.hearing.rate
            raw["stride"] = (stride.length / rate, stride.left / rate, stride.right / rate)
        return raw

    def transcript(self, raws: list[Any], parameters: SpeechRecognitionParameters) -> Transcript:
        times = self._times(parameters) or None
        positions = self.hearing.config.max_source_positions
        text, more = self.tokenizer._decode_asr(  # noqa: SLF001 - the pipeline's own way, without a public name
            raws,
            return_timestamps=times,
            return_language=None,
            time_precision=self.hearing.extractor.chunk_length / positions,
        )
        if not times:
            return Transcript(text)
        return Transcript(
            text,
            [SpeechChunk(one["text"], tuple(one["timestamp"])) for one in more.get("chunks", [])],
        )


def _token(language: str) -> str:
    language = language.lower()
    if language.startswith("<|"):
        return language
    return f"<|{TO_LANGUAGE_CODE.get(language, language)}|>"


def _word_times(written: dict[str, Any]) -> list[Any]:
    if "segments" not in written:
        return list(written["token_timestamps"])
    return [
        torch.cat([torch.zeros(0), *(segment["token_timestamps"].cpu() for segment in segments)])
        for segments in written["segments"]
    ]
