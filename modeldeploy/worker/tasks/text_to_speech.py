"""A text in, a WAV file of it spoken (VITS, Bark, SpeechT5) or played (MusicGen) out.

One text a call: the sound of a text must not depend on its company, and here it would. These
models draw random numbers for a whole batch, and their vocoders hear the padding.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import MODEL_FOR_TEXT_TO_WAVEFORM_MAPPING, StoppingCriteriaList

from modeldeploy.errors import InputTooLong, InvalidRequest, UnsupportedModel
from modeldeploy.schema.tasks.audio import Sound, Spoken, TextToSpeechParameters
from modeldeploy.worker.adapter import BatchLimits, Item, Source
from modeldeploy.worker.loading import checkpoint
from modeldeploy.worker.tasks import audio
from modeldeploy.worker.tasks.decoding import asked_of, new_tokens
from modeldeploy.worker.tasks.model import ModelAdapter
from modeldeploy.worker.tasks.scores import check_numbers
from modeldeploy.worker.tasks.stopping import GivenUp
from modeldeploy.worker.tasks.tokens import Tokens
from modeldeploy.worker.tasks.voices import BARK_TOKENS, VOICES, Saying, load_vocoder

_MOST_TOKENS = 4096
_OTHERS = ("speaker_id", "speaking_rate", "speaker_embeddings")
_COMMON = ("seed", "max_new_tokens")  # where a sound ends with its text, a limit is no error


class TextToSpeech(ModelAdapter[Spoken, TextToSpeechParameters]):
    generates = True
    batch = BatchLimits(items=1)

    def auto_class(self, source: Source) -> str:
        if type(self.config) in MODEL_FOR_TEXT_TO_WAVEFORM_MAPPING:
            return source.task.auto_class
        return "AutoModelForTextToSpectrogram"

    def load(self, source: Source) -> None:
        super().load(source)
        self.kind = self.config.model_type
        if self.kind not in VOICES:
            raise UnsupportedModel(
                f"a {self.kind} model is not served for {source.task.name} yet",
                hint=f"those that are: {', '.join(VOICES)}",
            )
        self.vocoder = load_vocoder(source, self.model) if self.kind == "speecht5" else None

    def prepare(self, source: Source) -> None:
        reads = getattr(self.config, "text_encoder", self.config)
        self.tokens = Tokens(checkpoint.load_tokenizer(source), reads)
        self.sampling_rate = self._found_rate()

    def _found_rate(self) -> int:
        """Samples a second, where transformers' pipeline looks for it."""
        generation = getattr(self.model, "generation_config", None)
        vocoder = self.vocoder.config if self.vocoder is not None else None
        for place in (vocoder, generation, self.config):
            for name in ("sampling_rate", "sample_rate"):
                if isinstance(rate := getattr(place, name, None), int):
                    return rate
        raise UnsupportedModel("config.json does not say how many samples a second it makes")

    def max_input_length(self) -> int:
        if self.kind == "bark":
            return BARK_TOKENS
        return int(getattr(self.config, "max_text_positions", None) or _MOST_TOKENS)

    def pre(self, inputs: Spoken, parameters: TextToSpeechParameters) -> list[Item]:
        asked = self._decoding(parameters)
        ids = self._ids(inputs.text)
        if not ids:
            raise InvalidRequest("text: nothing in it can be said", hint="send words")
        if len(ids) > self.max_input_length():
            raise InputTooLong(
                f"the text has {len(ids)} tokens, the limit is {self.max_input_length()}",
                hint="send it in parts",
            )
        return [Item((ids, parameters, asked), len(ids), object(), read=len(ids))]

    def _ids(self, text: str) -> list[int]:
        encoded = self.tokens.encode(text)
        if self.kind != "bark":
            return encoded.ids
        pairs = zip(encoded.ids, encoded.special, strict=True)
        return [token for token, special in pairs if not special]

    def _decoding(self, parameters: TextToSpeechParameters) -> dict[str, Any]:
        """What is asked of ``generate``.

        Raises:
            InvalidRequest: the model does not take something that is asked for.
        """
        voice, asked = VOICES[self.kind], asked_of(parameters)
        others = (name for name in _OTHERS if getattr(parameters, name) is not None)
        for name in (*asked, *others):
            if name not in {*voice.takes, *_COMMON}:
                raise InvalidRequest(f"{name}: this model does not take it", hint="leave it out")
        self._check_speaker(parameters)
        lengths = new_tokens(asked, voice.start)
        most = self._most_new_tokens()
        if most is not None and lengths.get("max_new_tokens", 0) > most:
            raise InvalidRequest(
                f"max_new_tokens: this model writes at most {most} at once", hint="lower it"
            )
        return {**asked, **lengths}

    def _most_new_tokens(self) -> int | None:
        """What the positions of Bark's first part leave."""
        if self.kind != "bark":
            return None
        return int(self.config.semantic_config.block_size) - VOICES[self.kind].start

    def _check_speaker(self, parameters: TextToSpeechParameters) -> None:
        voices = getattr(self.config, "num_speakers", 1)
        if parameters.speaker_id is not None and parameters.speaker_id >= voices:
            raise InvalidRequest(
                f"speaker_id: it is {parameters.speaker_id}, and this model has {voices} voice(s)",
                hint="they count from 0",
            )
        wanted = getattr(self.config, "speaker_embedding_dim", None)
        given = parameters.speaker_embeddings
        if given is not None and len(given) != wanted:
            raise InvalidRequest(
                f"speaker_embeddings: it has {len(given)} numbers, this model takes {wanted}",
                hint="give an x-vector of that length",
            )

    def forward(self, items: list[Item]) -> list[Any]:
        return [self._said(item) for item in items]

    def _said(self, item: Item) -> Any:
        """A wave of shape (channels, samples) or (samples,)."""
        ids, parameters, asked = item.data
        saying = Saying(
            torch.tensor([ids], device=self.device),
            parameters,
            asked,
            StoppingCriteriaList([GivenUp([item])]),
            self.tokens.pad_id or 0,
        )
        on = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=on, enabled=parameters.seed is not None):
            if parameters.seed is not None:
                torch.manual_seed(parameters.seed)
            wave = VOICES[self.kind].speak(self.model, saying, self.vocoder)
        samples = wave.float().cpu().numpy()
        check_numbers(samples, "samples")
        return samples

    def post(self, raws: list[Any], inputs: Spoken, parameters: TextToSpeechParameters) -> Sound:
        return Sound(audio.wav(raws[0].T, self.sampling_rate), self.sampling_rate)
