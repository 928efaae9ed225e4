"""The routes of Text Embeddings Inference on real and on tiny models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from sentence_transformers import SentenceTransformer

from modeldeploy import builtin
from modeldeploy.schema.worker import Limits
from tests.clients.served import Served, served
from tests.models import minilm, tiny

TEXTS = ["How do I get my money back?", "The cat sleeps."]


def ask(one: Served, path: str, **body: Any) -> requests.Response:
    return requests.post(one.url + path, json=body, timeout=60)


@pytest.mark.parametrize("task", ["feature-extraction", "sentence-similarity"])
def test_embed(task: str) -> None:
    model = SentenceTransformer(str(minilm.folder()), device="cpu")
    with served(minilm.folder(), task) as one:
        found = np.array(ask(one, "/embed", inputs=TEXTS).json())
        assert np.abs(found - model.encode(TEXTS)).max() < 1e-4
        single = ask(one, "/embed", inputs=TEXTS[0], truncate=None, dimensions=8).json()
        assert np.shape(single) == (1, 8)
        assert np.linalg.norm(single[0]) == pytest.approx(1, abs=1e-5)
        raw = ask(one, "/embed", inputs=TEXTS[0], normalize=False, dimensions=8).json()
        assert np.linalg.norm(raw[0]) < 1

        long = "word " * 600 + "end"
        refused = ask(one, "/embed", inputs=long)
        assert (refused.status_code, refused.json()["error_type"]) == (422, "validation")
        assert "window" in refused.json()["error"]
        ends = [
            ask(one, "/embed", inputs=long, truncate=True, truncation_direction=way).json()
            for way in ("Right", "Left", "left")
        ]
        assert ends[0] != ends[1]
        assert ends[1] == ends[2]

        assert ask(one, "/rerank", query="a", texts=["b"]).status_code == 404


def test_rerank(tmp_path: Path) -> None:
    texts = ["Ada lives in London.", "I love this product!", "a small model"]
    with served(tiny.cross_encoder(tmp_path / "m"), "text-ranking") as one:
        ranked = ask(one, "/rerank", query="Where does Ada live?", texts=texts).json()
        assert sorted(row["index"] for row in ranked) == [0, 1, 2]
        scores = [row["score"] for row in ranked]
        assert scores == sorted(scores, reverse=True)
        assert all(
            0 < score < 1 and set(row) == {"index", "score"}
            for row, score in zip(ranked, scores, strict=True)
        )
        raw = ask(
            one,
            "/rerank",
            query="Where does Ada live?",
            texts=texts,
            raw_scores=True,
            return_text=True,
        ).json()
        assert [row["index"] for row in raw] == [row["index"] for row in ranked]
        assert all(row["text"] == texts[row["index"]] for row in raw)
        logits = np.array([row["score"] for row in raw])
        assert np.allclose(1 / (1 + np.exp(-logits)), scores, atol=1e-5)
        assert ask(one, "/embed", inputs="a").json()["error_type"] == "validation"


def test_tokenize(tmp_path: Path) -> None:
    with served(tiny.classifier(tmp_path / "m"), "text-classification") as one:
        text = "not bad"
        (tokens,) = ask(one, "/tokenize", inputs=text).json()
        assert set(tokens[0]) == {"id", "text", "special", "start", "stop"}
        assert [tokens[0]["text"], tokens[-1]["text"]] == ["[CLS]", "[SEP]"]
        assert tokens[0]["special"]
        assert tokens[0]["start"] is None
        inner = tokens[1:-1]
        assert all(text[row["start"] : row["stop"]] == row["text"] for row in inner)
        assert not any(row["special"] for row in inner)
        bare = ask(one, "/tokenize", inputs=[text, "bad"], add_special_tokens=False).json()
        assert bare[0] == inner
        assert len(bare) == 2


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "`inputs`"),
        ({"inputs": 1}, "$.inputs"),
        ({"inputs": [[1, 2]]}, "$.inputs[0]"),
        ({"inputs": []}, "$.inputs"),
        ({"inputs": ["a", "b", "c"]}, "limit is 2"),
        ({"inputs": "a", "zork": 1}, "zork"),
    ],
)
def test_what_is_wrong_is_named(classifier: Served, body: dict[str, Any], says: str) -> None:
    refused = ask(classifier, "/tokenize", **body)
    assert refused.status_code == 422
    assert set(refused.json()) == {"error", "error_type"}
    assert refused.json()["error_type"] == "validation"
    assert says in refused.json()["error"]


@pytest.fixture(scope="module")
def classifier() -> Any:
    with served(
        builtin.path("sentiment"), "text-classification", limits=Limits(max_texts=2)
    ) as one:
        yield one


def test_a_route_of_another_task_is_not_here_and_says_so_in_its_shape(classifier: Served) -> None:
    for path in ("/embed", "/rerank"):
        lost = ask(classifier, path, inputs="a")
        assert (lost.status_code, set(lost.json())) == (404, {"error", "error_type"})
    plain = requests.post(f"{classifier.url}/tokenize", data=b"{}", timeout=60)
    assert plain.status_code == 415
