"""Vectors through huggingface_hub's and OpenAI's own clients."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
import requests
from huggingface_hub import InferenceClient
from sentence_transformers import SentenceTransformer

from modeldeploy.schema.worker import Limits
from tests.clients.served import served
from tests.models import minilm, tiny

TEXTS = ["How do I get my money back?", "The cat sleeps.", "How can I receive a refund?"]


def test_vectors_in_every_dialect() -> None:
    expected = SentenceTransformer(str(minilm.folder()), device="cpu").encode(TEXTS)
    with served(minilm.folder(), "feature-extraction") as one:
        hf = InferenceClient(model=one.url)
        many = hf.feature_extraction(TEXTS)
        assert np.abs(many - expected).max() < 1e-4
        single = hf.feature_extraction(TEXTS[0], normalize=True)
        assert single.shape == (1, 384)
        asked: Any = {"inputs": TEXTS, "parameters": {"encoding_format": "base64"}}
        packed = requests.post(one.url, json=asked, timeout=60).json()
        rows = [np.frombuffer(base64.b64decode(row), "<f4") for row in packed]
        assert np.abs(np.array(rows) - expected).max() < 1e-4
        tensors: Any = {
            "inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": TEXTS[:1]}],
            "parameters": {"encoding_format": "base64"},
        }
        url = f"{one.url}/v2/models/demo/infer"
        (result,) = requests.post(url, json=tensors, timeout=60).json()["outputs"]
        assert result["datatype"] == "BYTES"
        alone = np.frombuffer(base64.b64decode(json.loads(result["data"][0])), "<f4")
        assert np.abs(alone - expected[0]).max() < 1e-4
        with openai.OpenAI(base_url=f"{one.url}/v1", api_key="none", max_retries=0) as client:
            found = client.embeddings.create(model="demo", input=TEXTS)
            vectors = np.array([row.embedding for row in found.data])
            assert np.abs(vectors - expected).max() < 1e-4
            assert found.usage.prompt_tokens > len(TEXTS)
            short = client.embeddings.create(
                model="demo", input=TEXTS[0], dimensions=8, encoding_format="float"
            )
            assert np.linalg.norm(short.data[0].embedding) == pytest.approx(1, abs=1e-5)
            with pytest.raises(openai.BadRequestError, match="window"):
                client.embeddings.create(model="demo", input="word " * 600)


def test_similarity() -> None:
    with served(minilm.folder(), "sentence-similarity") as one:
        client = InferenceClient(model=one.url)
        found = client.sentence_similarity(TEXTS[0], TEXTS[1:])
        assert found[1] > 0.5 > found[0]
        assert client.feature_extraction(TEXTS[0]).shape == (1, 384)
        with openai.OpenAI(
            base_url=f"{one.url}/v1", api_key="none", max_retries=0
        ) as openai_client:
            embedded = openai_client.embeddings.create(model="demo", input=TEXTS[0])
            assert len(embedded.data[0].embedding) == 384


def test_a_model_of_vectors_tells_similarity_too() -> None:
    with served(minilm.folder(), "feature-extraction") as one:
        found = InferenceClient(model=one.url).sentence_similarity(TEXTS[0], TEXTS[1:])
        assert found[1] > 0.5 > found[0]


@pytest.mark.parametrize("task", ["feature-extraction", "sentence-similarity"])
def test_natively_too_both_are_answered(task: str) -> None:
    with served(minilm.folder(), task) as one:

        def ask(**body: Any) -> Any:
            answer = requests.post(f"{one.url}/predict", json=body, timeout=30)
            return answer.status_code, answer.json().get("result")

        _, vector = ask(text=TEXTS[0], normalize=True)
        _, vectors = ask(texts=TEXTS, normalize=True)
        _, found = ask(source_sentence=TEXTS[0], sentences=TEXTS[1:])
        assert np.allclose(vector, vectors[0], atol=1e-4)
        assert found == pytest.approx(list(np.array(vectors[1:]) @ np.array(vectors[0])), abs=1e-4)
        for wrong in ({}, {"text": "a", "source_sentence": "b"}, {"sentences": ["a"]}):
            assert ask(**wrong)[0] == 422


def test_as_tensors_both_are_answered_too() -> None:
    with served(minilm.folder(), "sentence-similarity", limits=Limits(max_texts=3)) as one:

        def infer(**columns: list[str]) -> requests.Response:
            tensors: Any = [
                {"name": name, "datatype": "BYTES", "shape": [len(column)], "data": column}
                for name, column in columns.items()
            ]
            url = f"{one.url}/v2/models/demo/infer"
            return requests.post(url, json={"inputs": tensors}, timeout=30)

        (vectors,) = infer(text=TEXTS[:2]).json()["outputs"]
        assert (vectors["datatype"], vectors["shape"]) == ("FP32", [2, 384])
        others = json.dumps(TEXTS[1:3])
        (found,) = infer(source_sentence=[TEXTS[0]], sentences=[others]).json()["outputs"]
        assert found["shape"] == [1, 2]
        four = json.dumps(TEXTS[:1] * 4)
        refused = infer(source_sentence=[TEXTS[0]], sentences=[four])
        assert refused.status_code == 422
        assert "the limit is 3" in refused.json()["error"]


def test_several_pairs_are_one_request_as_documented() -> None:
    with served(minilm.folder(), "sentence-similarity") as one:
        pair = {"source_sentence": TEXTS[0], "sentences": TEXTS[1:]}
        answer = requests.post(one.url, json={"inputs": [pair, pair]}, timeout=30)
        first, second = answer.json()
        assert first == pytest.approx(second, abs=1e-4)


def test_vectors_of_tokens_are_a_tensor_only_where_texts_are_of_one_length(tmp_path: Path) -> None:
    with served(tiny.gap_filler(tmp_path / "m"), "feature-extraction") as one:
        url = f"{one.url}/v2/models/demo"
        (output,) = requests.get(url, timeout=30).json()["outputs"]
        assert (output["datatype"], output["shape"]) == ("FP32", [-1, -1, -1])

        def infer(*texts: str) -> requests.Response:
            tensor: Any = {
                "name": "text",
                "datatype": "BYTES",
                "shape": [len(texts)],
                "data": texts,
            }
            return requests.post(f"{url}/infer", json={"inputs": [tensor]}, timeout=30)

        (vectors,) = infer("ten", "not").json()["outputs"]
        assert (vectors["datatype"], len(vectors["shape"])) == ("FP32", 3)
        refused = infer("ten", "not bad at all")
        assert refused.status_code == 422
        assert "pooling" in refused.json()["error"]
