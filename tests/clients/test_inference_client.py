"""huggingface_hub's own client, unmodified, against what we serve."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError

from modeldeploy import builtin
from tests.clients.served import served
from tests.models import tiny

DIGIT = builtin.path("digits") / "examples" / "3.png"


def test_text_classification() -> None:
    with served(builtin.path("sentiment"), "text-classification") as one:
        client = InferenceClient(model=one.url)
        found = client.text_classification("I love this product!")
        assert [label.label for label in found] == ["POSITIVE", "NEGATIVE"]
        assert found[0].score > 0.9
        assert len(client.text_classification("fine", top_k=1)) == 1
        with pytest.raises(HfHubHTTPError, match="top_k"):
            client.text_classification("fine", top_k=0)
        assert InferenceClient(one.url, provider="hf-inference").health_check()


def test_image_classification() -> None:
    with served(builtin.path("digits"), "image-classification") as one:
        client = InferenceClient(model=one.url)
        assert client.image_classification(DIGIT.read_bytes())[0].label == "3"
        assert client.image_classification(str(DIGIT), top_k=1)[0].label == "3"


def test_question_answering(tmp_path: Path) -> None:
    with served(tiny.question_answering(tmp_path / "m"), "question-answering") as one:
        client = InferenceClient(model=one.url)
        context = "Ada lives in London."
        found = client.question_answering("Where does Ada live?", context)
        assert not isinstance(found, list)
        assert context[found.start : found.end] == found.answer
        bare = client.question_answering("Where does Ada live?", context, align_to_words=False)
        assert not isinstance(bare, list)
        assert bare.answer in context
