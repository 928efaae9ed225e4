"""Weights that load are not enough: a head is served as what it was trained for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from modeldeploy.errors import WrongTask
from modeldeploy.worker.loading.heads import is_another, is_half
from modeldeploy.worker.tasks.tokens import Tokens, window_of
from tests.models import multimodal, peft_adapters, seq2seq, sounds, tiny
from tests.worker.adapters import loaded


@pytest.mark.parametrize(
    ("made", "asked", "own"),
    [
        (tiny.classifier, "token-classification", "text-classification"),
        (tiny.tagger, "text-classification", "token-classification"),
        (tiny.tagger, "zero-shot-classification", "token-classification"),
        (sounds.whisper, "text-generation", "automatic-speech-recognition"),
        (seq2seq.bart, "text-generation", "text2text-generation"),
        (seq2seq.marian, "text-generation", "translation"),
        (tiny.gap_filler, "text-generation", "fill-mask"),
        (multimodal.blip_questions, "image-to-text", "visual-question-answering"),
    ],
)
def test_another_head_is_refused_and_its_task_named(
    tmp_path: Path, made: Callable[[Path], Path], asked: str, own: str
) -> None:
    snapshot = made(tmp_path)
    with pytest.raises(WrongTask) as refused:
        loaded(snapshot, asked)
    (name,) = json.loads((snapshot / "config.json").read_text())["architectures"]
    assert name in refused.value.message
    assert asked in refused.value.message
    assert f"--task {own}" in refused.value.hint


@pytest.mark.parametrize("made", [tiny.classifier, tiny.gap_filler, tiny.tagger])
def test_who_reads_no_head_takes_any(tmp_path: Path, made: Callable[[Path], Path]) -> None:
    assert loaded(made(tmp_path), "feature-extraction").info().parameters


def test_a_config_that_names_no_class_is_judged_by_its_weights(tmp_path: Path) -> None:
    snapshot = tiny.classifier(tmp_path / "classifier")
    _forget_architectures(snapshot)
    assert loaded(snapshot, "text-classification").info().parameters
    half = sounds.whisper(tmp_path / "whisper")
    _forget_architectures(half)
    with pytest.raises(WrongTask, match="encoder"):
        loaded(half, "text-generation")


def _forget_architectures(snapshot: Path) -> None:
    file = snapshot / "config.json"
    config = json.loads(file.read_text())
    config.pop("architectures")
    file.write_text(json.dumps(config))


def test_an_adapters_own_task_is_asked_before_its_bases(tmp_path: Path) -> None:
    base = tiny.gpt2(tmp_path / "base")
    folder = peft_adapters.classifier(tmp_path / "adapter", base, "org/base")
    with pytest.raises(WrongTask, match="SEQ_CLS") as refused:
        loaded(folder, "text-generation", companion=str(base))
    assert "--task text-classification" in refused.value.hint


@pytest.mark.parametrize(
    ("trained", "loaded", "another"),
    [
        (["BertForSequenceClassification"], "BertForSequenceClassification", False),
        (["BertForPreTraining"], "BertForMaskedLM", False),
        (["BertModel"], "BertForSequenceClassification", False),
        (["LLaMAForCausalLM"], "LlamaForCausalLM", False),
        (["GPT2LMHeadModel"], "GPT2LMHeadModel", False),
        (["Qwen3_5ForConditionalGeneration"], "Qwen3_5ForCausalLM", False),
        (["GPT2ForSequenceClassification"], "GPT2LMHeadModel", True),
        (["BertForMultipleChoice"], "BertForSequenceClassification", True),
        (["XLNetForQuestionAnsweringSimple"], "XLNetForTokenClassification", True),
        (["DeiTForImageClassificationWithTeacher"], "DeiTForImageClassification", False),
        (["BertForMaskedLM", "BertForTokenClassification"], "BertForTokenClassification", False),
        ([], "BertForTokenClassification", False),
    ],
)
def test_kinds_of_heads(trained: list[str], loaded: str, another: bool) -> None:
    assert is_another(trained, loaded, is_encoder_decoder=False) == another


def test_a_decoder_saved_alone_is_whole() -> None:
    assert is_half(["BartForConditionalGeneration"], "BartForCausalLM", is_encoder_decoder=True)
    assert not is_half(["BartForCausalLM"], "BartForCausalLM", is_encoder_decoder=True)


def test_a_decoders_places_are_its_window(tmp_path: Path) -> None:
    """Whisper has 48 of them, by another name than a language model's."""
    config = loaded(sounds.whisper(tmp_path), "automatic-speech-recognition").config  # type: ignore[attr-defined]  # a model adapter
    tokenizer = tiny.byte_level()
    tokenizer.model_max_length = 10**30
    assert Tokens(tokenizer, config).window == window_of(config, tokenizer) == 48
