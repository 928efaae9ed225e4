"""The task: asked for, else the Hub's tag, else the architecture; else the candidates are listed."""

from __future__ import annotations

from typing import Any

import pytest

from modeldeploy.errors import AmbiguousTask, ModelDeployError, UnsupportedModel, UnsupportedTask
from modeldeploy.hub import config
from modeldeploy.hub.architectures import HUB_TASKS, tasks_of
from modeldeploy.hub.config import ModelConfig
from modeldeploy.hub.tasks import decide, served, tag_of_card
from modeldeploy.schema.deployment import Spec
from modeldeploy.schema.tasks import TASKS


def chosen(*architectures: str, tag: str | None = None, **spec: Any) -> str:
    settings = ModelConfig(model_type="x", architectures=list(architectures))
    return decide(Spec(model_id="x", cache_dir="/x", **spec), tag, settings).name


@pytest.mark.parametrize(
    ("architecture", "task"),
    [
        ("DistilBertForSequenceClassification", "text-classification"),
        ("GPT2LMHeadModel", "text-generation"),
        ("LlamaForCausalLM", "text-generation"),
        ("DistilBertForQuestionAnswering", "question-answering"),
        ("XLMForQuestionAnsweringSimple", "question-answering"),
        ("ViTForImageClassification", "image-classification"),
        ("DeiTForImageClassificationWithTeacher", "image-classification"),
        ("Echo", "echo"),
    ],
)
def test_by_architecture(architecture: str, task: str) -> None:
    assert chosen(architecture) == task


@pytest.mark.parametrize(
    ("architecture", "task"),
    [
        ("BertForMaskedLM", "fill-mask"),
        ("BertForTokenClassification", "token-classification"),
        ("Wav2Vec2ForSequenceClassification", "audio-classification"),
        ("WhisperForConditionalGeneration", "automatic-speech-recognition"),
        ("Wav2Vec2ForCTC", "automatic-speech-recognition"),
        ("SpeechEncoderDecoderModel", "automatic-speech-recognition"),
        ("SpeechT5ForSpeechToText", "automatic-speech-recognition"),
        ("SpeechT5ForTextToSpeech", "text-to-speech"),
        ("VitsModel", "text-to-speech"),
        ("ClapModel", "zero-shot-audio-classification"),
        ("TapasForQuestionAnswering", "table-question-answering"),
        ("LayoutLMv3ForQuestionAnswering", "document-question-answering"),
        ("ViltForQuestionAnswering", "visual-question-answering"),
        ("DetrForObjectDetection", "object-detection"),
        ("SegformerForSemanticSegmentation", "image-segmentation"),
        ("MarianMTModel", "translation"),
        ("T5ForConditionalGeneration", "translation"),
        ("LlavaForConditionalGeneration", "image-text-to-text"),
        ("BlipForConditionalGeneration", "image-to-text"),
        ("GitForCausalLM", "image-to-text"),
        ("VisionEncoderDecoderModel", "image-to-text"),
        ("BlipForQuestionAnswering", "visual-question-answering"),
        ("CLIPModel", "zero-shot-image-classification"),
        ("BertModel", "feature-extraction"),
    ],
)
def test_the_table_knows_what_is_not_ours(architecture: str, task: str) -> None:
    assert tasks_of(architecture)[0] == task


def test_every_task_of_ours_is_a_hub_task_with_an_architecture() -> None:
    assert set(TASKS) <= HUB_TASKS


def test_what_was_asked_for_comes_first() -> None:
    tag = "image-classification"
    assert chosen("GPT2LMHeadModel", tag=tag, task="text-classification") == "text-classification"
    assert chosen("GPT2LMHeadModel", task="sentiment-analysis") == "text-classification"


def test_a_pair_of_languages_may_be_named() -> None:
    asked = "translation_en_to_de"
    assert chosen("T5ForConditionalGeneration", task=asked) == asked
    assert chosen("MarianMTModel") == "translation"


def test_a_model_of_sentence_transformers_gives_vectors() -> None:
    settings = ModelConfig(model_type="bert", architectures=["BertModel"])
    spec = Spec(model_id="x", cache_dir="/x")
    assert decide(spec, None, settings, ["modules.json"]).name == "feature-extraction"
    assert (
        decide(spec, "sentence-similarity", settings, ["modules.json"]).name
        == "sentence-similarity"
    )


def test_a_cross_encoder_ranks() -> None:
    raw = b'{"architectures": ["BertForSequenceClassification"], "sentence_transformers": {}}'
    assert decide(Spec(model_id="x", cache_dir="/x"), None, config.read(raw)).name == "text-ranking"


def test_the_tag_comes_before_the_architecture() -> None:
    assert chosen("GPT2LMHeadModel", tag="text-classification") == "text-classification"


def test_a_tag_that_is_not_ours_leaves_it_to_the_architecture() -> None:
    assert chosen("BertForSequenceClassification", tag="text-to-image") == "text-classification"
    assert chosen("BertForSequenceClassification", tag="made-up") == "text-classification"


def refused(*architectures: str, tag: str | None = None, **spec: Any) -> ModelDeployError:
    with pytest.raises(ModelDeployError) as caught:
        chosen(*architectures, tag=tag, **spec)
    return caught.value


def test_a_known_task_that_is_not_served_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    # Replaced whole: one that is taken out and put back would be the table's last.
    fewer = {name: task for name, task in TASKS.items() if name != "question-answering"}
    monkeypatch.setattr("modeldeploy.schema.tasks.TASKS", fewer)
    for error in (
        refused("BertForQuestionAnswering"),
        refused("X", task="question-answering"),
        refused(tag="question-answering"),
    ):
        assert isinstance(error, UnsupportedTask)
        assert "question-answering" in error.message
        assert served() in error.hint


def test_a_task_that_does_not_exist_gets_the_nearest_one() -> None:
    error = refused("GPT2LMHeadModel", task="text-clasification")
    assert isinstance(error, UnsupportedTask)
    assert "did you mean text-classification?" in error.hint
    assert "question-answering" in error.hint


@pytest.mark.parametrize("architectures", [(), ("SomethingNew",)])
def test_when_nothing_decides_the_candidates_are_listed(architectures: tuple[str, ...]) -> None:
    error = refused(*architectures)
    assert isinstance(error, AmbiguousTask)
    assert "--task" in error.hint
    for task in TASKS:
        assert task == "echo" or task in error.hint


def test_two_architectures_that_disagree_are_candidates() -> None:
    error = refused("GPT2LMHeadModel", "GPT2ForSequenceClassification")
    assert isinstance(error, AmbiguousTask)
    assert "text-classification, text-generation" in error.hint


def test_the_type_narrows_the_candidates() -> None:
    error = refused(model_type="vision")
    assert "image-classification" in error.hint
    assert "text-generation" not in error.hint


def test_a_type_that_does_not_fit_the_task() -> None:
    error = refused("GPT2LMHeadModel", model_type="vision")
    assert isinstance(error, UnsupportedTask)
    assert "--type nlp" in error.hint


@pytest.mark.parametrize(
    ("card", "tag"),
    [
        ("---\nlicense: mit\npipeline_tag: text-generation\n---\n# x", "text-generation"),
        ("---\npipeline_tag: 'image-classification'\n---\n", "image-classification"),
        ("---\nlicense: mit\n---\npipeline_tag: text-generation\n", None),
        ("pipeline_tag: text-generation\n", None),
        ("", None),
    ],
)
def test_the_tag_of_a_card(card: str, tag: str | None) -> None:
    assert tag_of_card(card) == tag


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe"])
def test_a_config_that_is_none(content: bytes) -> None:
    with pytest.raises(UnsupportedModel, match=r"config\.json"):
        config.read(content)


def test_a_config_with_odd_fields() -> None:
    settings = config.read(b'{"model_type": 3, "architectures": ["A", 1, null]}')
    assert (settings.model_type, settings.architectures) == (None, ["A"])
    assert config.read(b'{"architectures": "A"}').architectures == []
