"""What a request for sound, or for what is said in it, asks of ``generate``."""

from __future__ import annotations

from typing import Any

from modeldeploy.errors import InvalidRequest
from modeldeploy.schema.tasks.audio import (
    GenerationParameters,
    SoundDecoding,
    SpeechRecognitionParameters,
)

SAMPLING = (
    "do_sample",
    "temperature",
    "top_k",
    "top_p",
    "typical_p",
    "epsilon_cutoff",
    "eta_cutoff",
)
BEAMS = ("num_beams", "early_stopping")
LENGTHS = ("max_length", "max_new_tokens", "min_length", "min_new_tokens")
# They change nothing: what would is refused by their types.
ACCEPTED = ("num_beam_groups", "penalty_alpha", "use_cache")


def asked_of(parameters: SoundDecoding | SpeechRecognitionParameters) -> dict[str, Any]:
    """The fields that were given, here or in ``generation_parameters``."""
    more = getattr(parameters, "generation_parameters", None) or GenerationParameters()
    found: dict[str, Any] = {}
    for name in SoundDecoding.__struct_fields__:
        own = getattr(parameters, name, None)
        value = getattr(more, name) if own is None else own
        if value is not None:
            found[name] = value
    return found


def new_tokens(asked: dict[str, Any], start: int) -> dict[str, int]:
    """The lengths in ``asked`` as numbers of new tokens, for a decoder that begins with ``start``.

    Raises:
        InvalidRequest: they leave nothing, or contradict each other.
    """
    most, least = asked.get("max_new_tokens"), asked.get("min_new_tokens")
    if most is None and "max_length" in asked:
        most = asked["max_length"] - start
        if most < 1:
            raise InvalidRequest(
                f"max_length: it is {asked['max_length']}, and the decoder begins with {start}",
                hint="raise it, or give max_new_tokens",
            )
    if least is None and "min_length" in asked:
        least = max(0, asked["min_length"] - start)
    if most is not None and (least or 0) > most:
        raise InvalidRequest(
            f"min_length: at least {least} new tokens are asked for, and at most {most}",
            hint="lower it, or raise max_length or max_new_tokens",
        )
    found = {"max_new_tokens": most, "min_new_tokens": least}
    return {name: value for name, value in found.items() if value is not None}
