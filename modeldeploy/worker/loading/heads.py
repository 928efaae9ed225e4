"""What a model's head was trained for, by transformers' names: ``<Model>For<Head>``.

Heads of different tasks may have weights of one name and one shape, so that loading alone tells
nothing: a classifier of texts and one of tokens, or a decoder with and without its encoder.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_AFTER_FOR = re.compile(r"For([A-Z]\w*)$")
_CAUSAL, _CONDITIONAL = "CausalLM", "ConditionalGeneration"
_KINDS = (
    "SequenceClassification",
    "TokenClassification",
    "QuestionAnswering",
    "MultipleChoice",
    "NextSentencePrediction",
    "MaskedLM",
    _CAUSAL,
    _CONDITIONAL,
    "ImageClassification",
    "VideoClassification",
    "AudioClassification",
    "AudioFrameClassification",
    "CTC",
    "XVector",
    "ObjectDetection",
    "SemanticSegmentation",
    "InstanceSegmentation",
    "UniversalSegmentation",
    "DepthEstimation",
)
# Where a head has another name.
_ALIASES = {"LMHeadModel": _CAUSAL, "MTModel": _CONDITIONAL, "ForSeq2SeqLM": _CONDITIONAL}
# By peft's TaskType; FEATURE_EXTRACTION says nothing of a head.
OF_ADAPTERS = {
    "CAUSAL_LM": "ForCausalLM",
    "SEQ_2_SEQ_LM": "ForConditionalGeneration",
    "SEQ_CLS": "ForSequenceClassification",
    "TOKEN_CLS": "ForTokenClassification",
    "QUESTION_ANS": "ForQuestionAnswering",
}


def kind_of(name: str) -> str | None:
    """The kind of the head of a class; None for one without, or one that is not known here."""
    found = _AFTER_FOR.search(name)
    if found:
        known = next((kind for kind in _KINDS if found[1].startswith(kind)), None)
        if known:
            return known
    return next((kind for suffix, kind in _ALIASES.items() if name.endswith(suffix)), None)


def is_another(trained: Iterable[str], loaded: str, *, is_encoder_decoder: bool) -> bool:
    """Whether the class ``loaded`` reads a head as another kind than any of those ``trained``.

    Who reads no head, or one that is not known, reads no other. What writes text on from a prompt
    (with images in it, maybe) is of one kind; but a decoder that was trained with an encoder is no
    such thing without it.
    """
    kinds = {kind_of(name) for name in trained}
    kind = kind_of(loaded)
    if kind is None or None in kinds or not kinds:
        return False
    if not is_encoder_decoder and kinds & {_CAUSAL, _CONDITIONAL}:
        kinds |= {_CAUSAL, _CONDITIONAL}
    return kind not in kinds


def is_half(names: Iterable[str], loaded: str, *, is_encoder_decoder: bool) -> bool:
    """Whether it is the decoder of an encoder-decoder alone."""
    return is_encoder_decoder and kind_of(loaded) == _CAUSAL and loaded not in names
