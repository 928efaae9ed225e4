"""NVIDIA's own client of the Open Inference Protocol, unmodified, against what we serve."""

from __future__ import annotations

import base64
import http.client
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from modeldeploy import builtin
from tests.clients.served import served
from tests.models import tiny

DIGIT = builtin.path("digits") / "examples" / "3.png"
BOTH = pytest.mark.parametrize("binary", [True, False])


def tensor(name: str, values: list[Any], binary: bool, column: bool = False) -> triton.InferInput:
    array = np.array(values, dtype=np.object_)
    array = array.reshape(-1, 1) if column else array
    made = triton.InferInput(name, list(array.shape), "BYTES")
    made.set_data_from_numpy(array, binary_data=binary)
    return made


def wanted(binary: bool, *names: str) -> list[triton.InferRequestedOutput]:
    return [triton.InferRequestedOutput(name, binary_data=binary) for name in names]


@BOTH
def test_text_classification(binary: bool) -> None:
    with (
        served(builtin.path("sentiment"), "text-classification") as one,
        triton.InferenceServerClient(one.url.removeprefix("http://")) as client,
    ):
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("demo", "1")
        assert not client.is_model_ready("other")
        assert client.get_server_metadata()["name"] == "modeldeploy"
        metadata = client.get_model_metadata("org/demo")
        assert [one["name"] for one in metadata["outputs"]] == ["result", "label", "score"]
        texts = ["I love this product!", "This is terrible."]
        found = client.infer(
            "demo",
            [tensor("text", texts, binary, column=True)],
            outputs=wanted(binary, "label", "score", "result"),
            request_id="7",
            parameters={"top_k": 2},
        )
        assert found.get_response()["id"] == "7"
        labels = found.as_numpy("label")
        assert [label if isinstance(label, str) else label.decode() for label in labels[:, 0]] == [
            "POSITIVE",
            "NEGATIVE",
        ]
        scores = found.as_numpy("score")
        assert scores.shape == (2, 2)
        assert scores.dtype == np.float32
        assert np.allclose(scores.sum(axis=1), 1, atol=1e-5)
        assert json.loads(found.as_numpy("result")[0])[0]["label"] == "POSITIVE"
        with pytest.raises(InferenceServerException, match="top_k") as caught:
            client.infer("demo", [tensor("text", texts, binary)], parameters={"top_k": 0})
        assert caught.value.status() == "422"
        with pytest.raises(InferenceServerException, match="no model 'other'"):
            client.infer("other", [tensor("text", texts, binary)])


@BOTH
def test_image_classification(binary: bool) -> None:
    raw = DIGIT.read_bytes()
    with (
        served(builtin.path("digits"), "image-classification") as one,
        triton.InferenceServerClient(one.url.removeprefix("http://")) as client,
    ):
        image = raw if binary else base64.b64encode(raw)
        found = client.infer("demo", [tensor("image", [image, image], binary)])
        assert [label.decode() for label in found.as_numpy("label")[:, 0]] == ["3", "3"]


@BOTH
def test_question_answering(tmp_path: Path, binary: bool) -> None:
    context = "Ada lives in London."
    with (
        served(tiny.question_answering(tmp_path / "m"), "question-answering") as one,
        triton.InferenceServerClient(one.url.removeprefix("http://")) as client,
    ):
        found = client.infer(
            "demo",
            [
                tensor("question", ["Where does Ada live?"], binary),
                tensor("context", [context], binary),
            ],
        )
        answer = json.loads(found.as_numpy("result")[0])
        assert context[answer["start"] : answer["end"]] == answer["answer"]
        with pytest.raises(InferenceServerException, match="'context' is missing"):
            client.infer("demo", [tensor("question", ["Where?"], binary)])


@BOTH
def test_a_form_that_is_not_accepted_is_not_answered(binary: bool) -> None:
    body = {
        "inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["good"]}],
        "parameters": {"binary_data_output": binary},
    }
    forms = ("application/octet-stream", "application/json")
    with served(builtin.path("sentiment"), "text-classification") as one:
        for accept in forms:
            connection = http.client.HTTPConnection("127.0.0.1", one.port, timeout=60)
            headers = {"content-type": "application/json", "accept": accept}
            connection.request("POST", "/v2/models/demo/infer", json.dumps(body), headers)
            answer = connection.getresponse()
            assert answer.status == (200 if accept == forms[not binary] else 406)
            answer.read()
            connection.close()
