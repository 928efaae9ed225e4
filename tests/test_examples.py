"""Every example runs as it stands, against a model that is served."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from modeldeploy import builtin
from tests.clients.served import served
from tests.models import minilm, sounds, tiny

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(name: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py"), *arguments],
        cwd=EXAMPLES.parent,
        env={key: value for key, value in os.environ.items() if key != "HF_HUB_OFFLINE"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_sentiment_and_plain_requests() -> None:
    with served(builtin.path("sentiment"), "text-classification") as one:
        lines = run("sentiment", one.url).splitlines()
        assert [line.split()[-2] for line in lines[:3]] == ["POSITIVE", "NEGATIVE", "POSITIVE"]
        shown = run("plain_requests", one.url)
    assert "'status': 'healthy'" in shown
    assert "422 invalid_request" in shown


def test_image() -> None:
    with served(builtin.path("digits"), "image-classification") as one:
        assert run("image", one.url).split()[0] == "3"


def test_generation_and_chat(tmp_path: Path) -> None:
    with served(tiny.chat(tmp_path / "m"), "text-generation") as one:
        assert run("generation", one.url, "Once upon").startswith("Once upon")
        assert run("openai_chat", one.url, "Hi").strip()


def test_question_answering(tmp_path: Path) -> None:
    with served(tiny.question_answering(tmp_path / "m"), "question-answering") as one:
        assert "score" in run("question_answering", one.url)


def test_embeddings_search() -> None:
    with served(minilm.folder(), "feature-extraction") as one:
        best, *_ = run("embeddings_search", one.url, "How do I get my money back?").splitlines()
        assert "refund" in best


def test_audio(tmp_path: Path) -> None:
    file = tmp_path / "speech.wav"
    file.write_bytes(sounds.encoded(sounds.noise(1.0)))
    with served(sounds.ctc(tmp_path / "m"), "automatic-speech-recognition") as one:
        assert run("audio", one.url, str(file)).strip()


def test_no_example_is_left_out() -> None:
    tested = Path(__file__).read_text()
    for file in EXAMPLES.glob("*.py"):
        assert f'"{file.stem}"' in tested or file.stem == "demo", file.name


def _requests(items: list[Any]) -> list[Any]:
    return [r for item in items for r in (_requests(item["item"]) if "item" in item else [item])]


@pytest.mark.parametrize(
    ("task", "folders"),
    [
        ("text-classification", ["Any deployment", "text-classification"]),
        ("question-answering", ["Any deployment", "question-answering"]),
        ("text-generation", ["Any deployment", "text-generation"]),
    ],
)
def test_the_postman_collection(task: str, folders: list[str], tmp_path: Path) -> None:
    models = {
        "text-classification": lambda: builtin.path("sentiment"),
        "question-answering": lambda: tiny.question_answering(tmp_path / "m"),
        "text-generation": lambda: tiny.gpt2(tmp_path / "m"),
    }
    file = EXAMPLES / "modeldeploy.postman_collection.json"
    collection = json.loads(file.read_text().replace("{{model}}", "demo"))
    wanted = [item for item in collection["item"] if item["name"] in folders]
    assert len(wanted) == len(folders)
    with served(models[task](), task) as one:
        for item in _requests(wanted):
            asked = item["request"]
            connection = http.client.HTTPConnection("127.0.0.1", one.port, timeout=60)
            connection.request(
                asked["method"],
                asked["url"].removeprefix("{{url}}"),
                asked.get("body", {}).get("raw"),
                {header["key"]: header["value"] for header in asked["header"]},
            )
            response = connection.getresponse()
            assert response.status == 200, (item["name"], response.read())
            response.read()
            connection.close()
