"""How a request's tokens are chosen: what it says, and what the model's authors say where it says
nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from modeldeploy.errors import InvalidRequest
from modeldeploy.schema.tasks.generation import TextGenerationParameters, is_cold
from modeldeploy.worker.generation.sampling import Sampling

_NEW_TOKENS = 50


@dataclass(frozen=True)
class Defaults:
    """What the model's own generation_config says."""

    new: int | None
    length: int | None
    sampling: bool
    temperature: float
    top_k: int | None
    top_p: float | None
    min_p: float | None
    typical_p: float | None
    top_h: float | None
    epsilon_cutoff: float | None
    eta_cutoff: float | None
    repetition_penalty: float | None

    @classmethod
    def of(cls, config: Any) -> Defaults:
        return cls(
            new=config.max_new_tokens,
            length=config.max_length,
            sampling=bool(config.do_sample),
            temperature=config.temperature or 1.0,
            top_k=config.top_k,
            top_p=config.top_p,
            min_p=config.min_p,
            typical_p=config.typical_p,
            top_h=getattr(config, "top_h", None),
            epsilon_cutoff=config.epsilon_cutoff,
            eta_cutoff=config.eta_cutoff,
            repetition_penalty=config.repetition_penalty,
        )

    def new_tokens(self, prompt: int) -> int:
        """How many to write after a prompt of that length where nothing is asked for."""
        if self.new:
            return self.new
        room = (self.length or 0) - prompt
        return room if room > 0 else _NEW_TOKENS


def sampling_of(parameters: TextGenerationParameters, defaults: Defaults, beams: int) -> Sampling:
    """
    Args:
        beams: what the model is searched with where nothing is sampled.

    Raises:
        InvalidRequest: the parameters contradict each other.
    """
    sample = _samples(parameters, defaults, beams)
    if parameters.num_return_sequences > beams and not sample:
        raise InvalidRequest(
            f"num_return_sequences is {parameters.num_return_sequences}, and without sampling "
            "they would all be the same",
            hint="leave do_sample out, and temperature 0 too",
        )
    if beams > 1 and not sample and (parameters.frequency_penalty or parameters.presence_penalty):
        raise InvalidRequest(
            "frequency_penalty, presence_penalty: this model is searched with beams, which know none",
            hint="leave them out, give repetition_penalty, or sample with a temperature",
        )
    own = parameters.repetition_penalty
    return Sampling(
        temperature=(parameters.temperature or defaults.temperature) if sample else None,
        top_k=defaults.top_k if parameters.top_k is None else parameters.top_k,
        top_p=defaults.top_p if parameters.top_p is None else parameters.top_p,
        min_p=defaults.min_p,
        typical_p=defaults.typical_p if parameters.typical_p is None else parameters.typical_p,
        top_h=defaults.top_h,
        epsilon_cutoff=defaults.epsilon_cutoff,
        eta_cutoff=defaults.eta_cutoff,
        beams=1 if sample else beams,
        repetition_penalty=defaults.repetition_penalty if own is None else own,
        frequency_penalty=parameters.frequency_penalty,
        presence_penalty=parameters.presence_penalty,
        logprobs=parameters.details is True or parameters.top_n_tokens is not None,
        top_n=parameters.top_n_tokens or 0,
    )


def _samples(parameters: TextGenerationParameters, defaults: Defaults, beams: int) -> bool:
    if is_cold(parameters.temperature):
        return False
    if parameters.do_sample is not None:
        return parameters.do_sample
    steered = (
        parameters.temperature,
        parameters.top_k,
        parameters.top_p,
        parameters.typical_p,
    )
    return (
        defaults.sampling
        or parameters.num_return_sequences > beams
        or any(value is not None for value in steered)
    )
