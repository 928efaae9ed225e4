"""What a model's own ``generation_config`` asks for beyond what a request may say: words that are
never written, n-grams that do not return, a shortest length, beams.

transformers makes the processors. They see one row alone, at its own length, so that neither
company nor padding changes what they do.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from transformers import LogitsProcessorList

from modeldeploy.worker.generation.sampling import Processors
from modeldeploy.worker.loading.model_errors import typed_errors
from modeldeploy.worker.tasks.planning import writer_of

_SCORES = (
    "sequence_bias",
    "repetition_penalty",
    "encoder_repetition_penalty",
    "no_repeat_ngram_size",
    "encoder_no_repeat_ngram_size",
    "bad_words_ids",
    "min_length",
    "min_new_tokens",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "exponential_decay_length_penalty",
    "suppress_tokens",
    "begin_suppress_tokens",
    "guidance_scale",
    "watermarking_config",
    "renormalize_logits",
)
_LENGTHS = ("max_length", "max_new_tokens")
# Ways to get the same tokens sooner.
_SPEED = ("prompt_lookup_num_tokens", "use_mtp", "assistant_early_exit")
# What is not done here, and what leaves all as it is.
_UNKNOWN: dict[str, tuple[Any, ...]] = {
    "penalty_alpha": (0,),
    "dola_layers": (),
    "constraints": (),
    "force_words_ids": (),
    "num_beam_groups": (1,),
    "diversity_penalty": (0,),
    "num_return_sequences": (1,),
    "token_healing": (False,),
    "max_time": (),
    "remove_invalid_values": (False,),
}


class Rules:
    """Of one model, whose ``generate`` from then on leaves the choosing to us.

    ``beams`` is how many the model is searched with where nothing is sampled (1 where the task does
    not search), ``stops`` the strings that end its texts, ``notes`` what of its ``generation_config`` is done differently or
    not at all.
    """

    def __init__(self, model: Any, *, searches: bool) -> None:
        self._writer = writer_of(model)
        whole = self._writer.generation_config
        self.beams = int(whole.num_beams or 1) if searches else 1
        self.stops = _texts(whole.stop_strings)
        self.notes = tuple(_notes(whole, self.beams))
        # An encoder-decoder's processors look at what its decoder has written, which rows do not
        # have: its `generate` goes on applying them.
        self._reads_apart = bool(getattr(model.config, "is_encoder_decoder", False))
        self.searching = _without(whole, (*_UNKNOWN, *_SPEED, *_LENGTHS, "stop_strings"))
        self._writer.generation_config = (
            self.searching if self._reads_apart else _without(self.searching, _SCORES)
        )
        self._asks = False
        with typed_errors("generation_config.json"):
            self._asks = not self._reads_apart and bool(self._made([0], 1, None))

    def of(self, prompt: Sequence[int], new: int, penalty: float | None) -> Processors | None:
        """The processors for one row that goes on from ``prompt`` with ``new`` tokens at most,
        the repetition penalty among them; None where the model asks for none."""
        return self._made(prompt, new, penalty) if self._asks else None

    def _made(self, prompt: Sequence[int], new: int, penalty: float | None) -> LogitsProcessorList:
        device = self._writer.device
        own = copy.copy(self.searching)
        own.do_sample = False  # the chooser draws
        own.repetition_penalty = penalty
        own.max_length = len(prompt) + new
        self._writer._prepare_special_tokens(own, device=device)  # noqa: SLF001 - generate's own way, without a public name
        return self._writer._get_logits_processor(  # noqa: SLF001 - the same
            generation_config=own,
            input_ids_seq_length=len(prompt),
            encoder_input_ids=torch.tensor([list(prompt)], device=device),
            device=device,
            model_kwargs={},
        )


def _without(config: Any, names: Sequence[str]) -> Any:
    copied = copy.deepcopy(config)
    for name in names:
        setattr(copied, name, None)
    return copied


def _texts(given: str | list[str] | None) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given or ())


def _notes(config: Any, beams: int) -> Iterator[str]:
    """What differs, for those who compare."""
    unknown = {**_UNKNOWN, "num_beams": (1, beams)}
    for name, harmless in unknown.items():
        value = getattr(config, name, None)
        if value is not None and value not in harmless:
            yield (
                f"generation_config: {name} is not done here; texts are written as if it were not "
                "there"
            )
    if beams > 1:
        yield (
            f"generation_config: num_beams is {beams}; requests that sample are written without "
            "beams, and a stream of the others comes at their end"
        )
