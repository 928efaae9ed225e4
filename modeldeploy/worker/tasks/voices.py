"""How each kind of model makes sound of token ids."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import SpeechT5HifiGan, StoppingCriteriaList

from modeldeploy.errors import UnsupportedModel
from modeldeploy.schema.tasks.audio import TextToSpeechParameters
from modeldeploy.worker.adapter import Source
from modeldeploy.worker.loading.model_errors import typed_errors
from modeldeploy.worker.tasks.decoding import ACCEPTED, BEAMS, LENGTHS, SAMPLING

BARK_TOKENS = 256  # its processor pads every text to this
_NEW_TOKENS = 256  # the pipeline's own, where neither the model nor the caller says otherwise


@dataclass(frozen=True)
class Saying:
    """What is to be said: ``ids`` of shape (1, tokens), ``asked`` of the decoding, lengths as
    numbers of new tokens; ``stop`` for what nobody wants any more."""

    ids: torch.Tensor
    parameters: TextToSpeechParameters
    asked: dict[str, Any]
    stop: StoppingCriteriaList
    pad_id: int

    def steering(self, *names: str) -> dict[str, Any]:
        """Those of the parameters that were given."""
        given = {name: getattr(self.parameters, name) for name in names}
        return {name: value for name, value in given.items() if value is not None}

    def decoding(self, *names: str) -> dict[str, Any]:
        """Those of the decoding's fields that were given."""
        return {name: self.asked[name] for name in names if name in self.asked}


@dataclass(frozen=True)
class Voice:
    """``speak`` makes a wave of shape (..., samples); ``takes`` are the parameters it knows,
    ``start`` the tokens that its decoder begins with."""

    speak: Callable[[Any, Saying, Any], torch.Tensor]
    takes: tuple[str, ...]
    start: int = 0


def _vits(model: Any, saying: Saying, vocoder: Any) -> torch.Tensor:
    made = model(
        input_ids=saying.ids,
        attention_mask=torch.ones_like(saying.ids),
        **saying.steering("speaker_id", "speaking_rate"),
    )
    wave: torch.Tensor = made.waveform[0]
    return wave


def _bark(model: Any, saying: Saying, vocoder: Any) -> torch.Tensor:
    empty = BARK_TOKENS - saying.ids.shape[1]
    lengths = saying.decoding("max_new_tokens", "min_new_tokens")
    made = model.generate(
        input_ids=torch.nn.functional.pad(saying.ids, (0, empty), value=saying.pad_id),
        attention_mask=torch.nn.functional.pad(torch.ones_like(saying.ids), (0, empty)),
        **saying.decoding(*SAMPLING, *BEAMS),
        **{f"semantic_{name}": length for name, length in lengths.items()},
        semantic_stopping_criteria=saying.stop,
        coarse_stopping_criteria=saying.stop,
    )
    wave: torch.Tensor = made[0]
    return wave


def _musicgen(model: Any, saying: Saying, vocoder: Any) -> torch.Tensor:
    own = model.generation_config.to_diff_dict()
    length = {} if {"max_new_tokens", "max_length"} & set(own) else {"max_new_tokens": _NEW_TOKENS}
    made = model.generate(
        input_ids=saying.ids,
        attention_mask=torch.ones_like(saying.ids),
        stopping_criteria=saying.stop,
        **{**length, **saying.decoding(*SAMPLING, "max_new_tokens", "min_new_tokens")},
    )
    wave: torch.Tensor = made[0]
    return wave


def _speecht5(model: Any, saying: Saying, vocoder: Any) -> torch.Tensor:
    """Without an embedding of a speaker it speaks as nobody in particular."""
    embedding = saying.parameters.speaker_embeddings or [0.0] * model.config.speaker_embedding_dim
    speaker = torch.tensor([embedding], device=saying.ids.device, dtype=model.dtype)
    wave: torch.Tensor = model.generate_speech(saying.ids, speaker, vocoder=vocoder)
    return wave


VOICES: dict[str, Voice] = {
    "vits": Voice(_vits, ("speaker_id", "speaking_rate")),
    "bark": Voice(_bark, (*SAMPLING, *BEAMS, *LENGTHS, *ACCEPTED), BARK_TOKENS + 1),
    "musicgen": Voice(_musicgen, (*SAMPLING, *LENGTHS, *ACCEPTED), 1),
    "speecht5": Voice(_speecht5, ("speaker_embeddings",)),
}


def load_vocoder(source: Source, model: Any) -> Any:
    """What makes sound of SpeechT5's spectrograms: the companion, or ``vocoder/`` in the snapshot.

    Raises:
        UnsupportedModel: there is none. ModelError: it cannot be loaded.
    """
    folder = Path(source.companion or Path(source.snapshot) / "vocoder")
    if not (folder / "config.json").is_file():
        raise UnsupportedModel(
            "a SpeechT5 model makes spectrograms, and the vocoder that makes sound of them is missing",
            hint=f"put microsoft/speecht5_hifigan, with its weights in safetensors, into {folder}",
        )
    with typed_errors("the vocoder"):
        vocoder = SpeechT5HifiGan.from_pretrained(
            folder,
            dtype=model.dtype,
            local_files_only=True,
            use_safetensors=None if source.allow_pickle else True,
        )
        return vocoder.eval().requires_grad_(False).to(model.device)
