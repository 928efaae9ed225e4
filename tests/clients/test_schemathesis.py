"""Schemathesis over a deployment's own OpenAPI document: its examples work, whatever else the
document allows or forbids never ends as a 5xx, nothing wrong is accepted, every answer conforms."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from schemathesis import GenerationMode

from modeldeploy import builtin
from modeldeploy.schema.tasks import TASKS
from tests.clients.conforming import CHECKS, conform, tame_echo
from tests.clients.served import Served, served
from tests.models import minilm, multimodal, seq2seq, sounds, tables, tiny, vision, vision_text


def roomy(folder: Path) -> Path:
    """The model with a window that a long example fits into."""
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "model_max_length": 256}))
    return folder


MODELS: dict[str, Callable[[Path], Path]] = {
    "text-classification": lambda folder: builtin.path("sentiment"),
    "question-answering": tiny.question_answering,
    "token-classification": tiny.tagger,
    "fill-mask": tiny.gap_filler,
    "zero-shot-classification": tiny.entailer,
    "table-question-answering": tables.tapas,
    "feature-extraction": lambda folder: tiny.sentence_encoder(folder, "mean"),
    "sentence-similarity": lambda folder: minilm.folder(),
    "text-ranking": tiny.cross_encoder,
    "text-generation": tiny.chat,
    "summarization": lambda folder: roomy(seq2seq.t5(folder)),
    "translation": seq2seq.nllb,
    "text2text-generation": seq2seq.bart,
    "image-classification": lambda folder: builtin.path("digits"),
    "zero-shot-image-classification": vision_text.clip,
    "depth-estimation": vision.depth_anything,
    "image-feature-extraction": vision.vit,
    "video-classification": vision.videomae,
    "image-to-text": multimodal.git,
    "visual-question-answering": multimodal.vilt,
    "document-question-answering": multimodal.layoutlm,
    "image-text-to-text": multimodal.llava,
    "any-to-any": multimodal.llava,
    "automatic-speech-recognition": sounds.whisper,
    "audio-classification": sounds.classifier,
    "zero-shot-audio-classification": sounds.clap,
    "text-to-speech": sounds.vits,
    "object-detection": vision.detr,
    "zero-shot-object-detection": vision_text.owlvit,
    "image-segmentation": vision.mask2former,
    "mask-generation": vision.sam,
    "keypoint-matching": vision.superglue,
    "echo": lambda folder: folder,
}


@pytest.fixture(scope="module", params=TASKS)
def one(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    snapshot = MODELS[request.param](tmp_path_factory.mktemp("model"))
    with served(snapshot, request.param) as deployment:
        yield deployment


def operations(deployment: Served) -> list[Any]:
    schema = schemathesis.openapi.from_url(f"{deployment.url}/openapi.json")
    return [found.ok() for found in schema.get_all_operations()]


@pytest.mark.promise(19, fault="every example of each document")
def test_every_example_works_as_it_stands(one: Served) -> None:
    _try_examples(one)


def test_a_model_without_a_chat_template_shows_no_conversations(tmp_path: Path) -> None:
    with served(tiny.gpt2(tmp_path / "m"), "text-generation") as one:
        paths = {operation.path for operation in _try_examples(one)}
    assert "/v1/completions" in paths
    assert not {"/v1/chat/completions", "/v1/responses"} & paths


def _try_examples(one: Served) -> list[Any]:
    asked = [operation for operation in operations(one) if operation.method.upper() == "POST"]
    assert len(asked) >= 3
    for operation in asked:
        content = operation.definition.raw["requestBody"]["content"].get("application/json")
        if content is None:
            continue  # a form
        case = operation.Case(body=content["example"], media_type="application/json")
        response = case.call_and_validate(checks=CHECKS)
        assert response.status_code == 200, (operation.path, response.text)
    return asked


@pytest.mark.parametrize("mode", GenerationMode)
@pytest.mark.promise(19, fault="whatever each deployment's document allows and forbids")
def test_what_the_document_says_is_so(one: Served, mode: GenerationMode) -> None:
    with requests.Session() as session:
        for operation in operations(one):
            conform(operation, mode, session, tame_echo)
