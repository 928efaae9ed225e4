"""A model id goes in, a real model answers: real command line, supervisor, workers, weights."""

from __future__ import annotations

import base64
import json
import subprocess
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from modeldeploy.paths import locate
from tests.e2e.instance import Instance, get, post
from tests.models import smollm2, tiny

pytestmark = pytest.mark.e2e

DIGITS = Path(__file__).parents[2] / "modeldeploy" / "builtin" / "digits" / "examples"


def test_the_embedded_model_answers(instance: Instance) -> None:
    shown = instance.deploy("builtin/sentiment")
    assert shown["name"] == "sentiment"
    assert shown["state"] == "RUNNING"
    assert shown["task"] == "text-classification"
    for text, label in (
        ("I love this product!", "POSITIVE"),
        ("This is terrible", "NEGATIVE"),
        ("not bad at all", "POSITIVE"),
    ):
        status, answer = post(f"{shown['url']}/predict", {"text": text})
        assert status == 200
        assert answer["status"] == "success"
        assert answer["deployment_id"] == "sentiment"
        assert answer["inference_time_ms"] > 0
        assert answer["result"][0]["label"] == label
    _, many = post(f"{shown['url']}/predict", {"texts": ["great", "awful"]})
    assert [labels[0]["label"] for labels in many["result"]] == ["POSITIVE", "NEGATIVE"]


def test_health_and_info_say_what_is_served(instance: Instance) -> None:
    shown = instance.deploy("builtin/sentiment", "--name", "s")
    assert get(shown["endpoints"]["health"]) == (
        200,
        {"status": "healthy", "model_id": "builtin/sentiment", "deployment_id": "s"},
    )
    status, info = get(shown["endpoints"]["info"])
    assert status == 200
    assert info["task"] == "text-classification"
    assert info["model_type"] == "nlp"
    assert info["parameters"] > 100_000


def test_progress_in_a_pipe_is_a_line_a_stage(instance: Instance) -> None:
    done = instance.run("deploy", "builtin/sentiment")
    lines = done.stderr.splitlines()
    for stage in ("validate", "download", "load", "pipeline", "server", "complete"):
        assert sum(f"] {stage} " in line for line in lines) == 1, done.stderr
    assert "\x1b" not in done.stderr + done.stdout


def test_the_curl_line_works_when_pasted(instance: Instance, tmp_path: Path) -> None:
    (tmp_path / "image.png").write_bytes(sorted(DIGITS.glob("*.png"))[0].read_bytes())
    for model in ("builtin/sentiment", "builtin/digits"):
        done = instance.run("deploy", model)
        curl = next(line for line in done.stdout.splitlines() if line.strip().startswith("curl "))
        answer = subprocess.run(
            ["bash", "-c", curl.replace("curl ", "curl -sS ", 1)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        assert json.loads(answer.stdout)["status"] == "success"


def test_an_image_is_answered_by_bytes_and_by_base64(instance: Instance) -> None:
    shown = instance.deploy("builtin/digits", "--name", "d")
    image = sorted(DIGITS.glob("*.png"))[0]
    raw = image.read_bytes()
    status, by_bytes = post(f"{shown['url']}/predict", raw, "image/png")
    assert status == 200
    _, by_text = post(f"{shown['url']}/predict", {"image": base64.b64encode(raw).decode()})
    assert by_text["result"] == by_bytes["result"]
    assert by_bytes["result"][0]["label"] in image.stem


def test_an_image_may_be_named_where_its_host_is_listed(instance: Instance) -> None:
    class Digits(SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    host = ThreadingHTTPServer(("127.0.0.1", 0), partial(Digits, directory=str(DIGITS)))
    serving = threading.Thread(target=host.serve_forever, args=(0.05,))
    serving.start()
    try:
        place = f"127.0.0.1:{host.server_address[1]}"
        shown = instance.deploy("builtin/digits", "--allow-media-url", place)
        image = sorted(DIGITS.glob("*.png"))[0].name
        status, answer = post(f"{shown['url']}/predict", {"image": f"http://{place}/{image}"})
        assert (status, answer["result"][0]["label"] in image) == (200, True)
    finally:
        host.shutdown()
        serving.join()
        host.server_close()


def test_three_models_at_once_each_on_its_port(instance: Instance, tmp_path: Path) -> None:
    gpt2, qa = tiny.gpt2(tmp_path / "gpt2"), tiny.question_answering(tmp_path / "qa")
    deployments = [instance.deploy(model) for model in ("builtin/sentiment", str(gpt2), str(qa))]
    assert len({shown["port"] for shown in deployments}) == 3
    _, text, answer = (
        post(f"{shown['url']}/predict", shown["example"])[1]["result"] for shown in deployments
    )
    assert text[0]["generated_text"].startswith("Once upon a time")
    assert set(answer) == {"answer", "score", "start", "end"}
    names = [shown["name"] for shown in json.loads(instance.run("ls", "--json").stdout)]
    assert names == ["sentiment", "gpt2", "qa"]
    first, writes, last = (instance.inspect(name)["replicas"][0] for name in names)
    assert [first["reserved_bytes"], last["reserved_bytes"]] == [0, 0]
    assert writes["reserved_bytes"] > 100_000
    told = json.loads(locate(str(instance.home)).worker_spec(last["id"]).read_bytes())
    assert told["reserved"]["bytes"]["host"] > 100_000
    assert (told["reserved"]["writers"], told["reserved"]["loading"]) == (1, 0)


def test_default_names_are_made_unique(instance: Instance) -> None:
    assert instance.deploy("builtin/sentiment")["name"] == "sentiment"
    assert instance.deploy("builtin/sentiment")["name"] == "sentiment-2"
    taken = instance.run("deploy", "builtin/sentiment", "--name", "sentiment", "--json", ok=False)
    assert taken.returncode == 1
    assert json.loads(taken.stdout)["error"]["code"] == "name_taken"


@pytest.mark.parametrize(
    ("arguments", "exit_code", "code"),
    [
        (("builtin/nothing",), 3, None),
        (("../../etc/passwd",), 3, None),
        (("a/b/c/d",), 2, "invalid_model_id"),
        (("builtin/sentiment", "--name", "No Good"), 2, "invalid_name"),
        (("builtin/sentiment", "--task", "text-generation"), 3, None),
        (("builtin/sentiment", "--task", "no-such-task"), 2, "unknown_task"),
        (("builtin/sentiment", "--device", "cuda:9"), 1, "device_unavailable"),
    ],
)
def test_bad_input_gets_a_clear_error(
    instance: Instance, arguments: tuple[str, ...], exit_code: int, code: str | None
) -> None:
    done = instance.run("deploy", "--json", *arguments, ok=False)
    error = json.loads(done.stdout)["error"]
    assert done.returncode == exit_code, error
    assert error["message"]
    assert error["hint"]
    assert code is None or error["code"] == code


def test_force_gpu_without_one_is_an_error_that_says_so(instance: Instance) -> None:
    instance.env["FORCE_GPU"] = "true"
    done = instance.run("deploy", "builtin/sentiment", "--device", "cpu", "--json", ok=False)
    assert done.returncode == 1
    assert "FORCE_GPU" in json.loads(done.stdout)["error"]["message"]


def test_a_deployment_file_is_the_same_as_its_flags(instance: Instance, tmp_path: Path) -> None:
    file = tmp_path / "deployment.json"
    file.write_text(
        json.dumps(
            {"model_id": "builtin/sentiment", "deployment_name": "mine", "model_type": "nlp"}
        )
    )
    assert instance.deploy("--file", str(file))["name"] == "mine"


@pytest.mark.slow
def test_a_real_language_model_answers_sensibly(
    instance: Instance, pytestconfig: pytest.Config
) -> None:
    model = smollm2.convert(pytestconfig.cache.mkdir("smollm2-135m"))
    shown = instance.deploy(str(model), "--name", "smol", "--task", "text-generation")
    prompt = "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"
    status, answer = post(
        f"{shown['url']}/predict",
        {"text": prompt, "max_new_tokens": 12, "temperature": 0, "return_full_text": False},
    )
    assert status == 200
    assert "Paris" in answer["result"][0]["generated_text"]
