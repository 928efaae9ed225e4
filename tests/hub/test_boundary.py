"""The process: one request, whole lines, nothing else on standard output, no secret anywhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import pytest

from modeldeploy.hub.secrets import Redactor
from modeldeploy.hub.wire import Reporter, Wire
from modeldeploy.schema.fetch import AHEAD, FetchDone, FetchFailed, FetchLine, FetchProgress
from modeldeploy.schema.problem import Problem
from modeldeploy.schema.stages import Stage
from tests.fakehub import FakeHub
from tests.hub.conftest import files
from tests.hub.fetcher import Fetcher

TOKEN = "hf_SuperSecretToken0123456789"
_PATCH = (
    "import modeldeploy.hub.__main__ as m\ndef resolve(*args):\n    {body}\nm.resolve = resolve\n"
)


@pytest.mark.parametrize("arguments", [[], [AHEAD]])
def test_it_runs_as_a_module(fake_hub: FakeHub, fetcher: Fetcher, arguments: list[str]) -> None:
    fake_hub.add("org/model", files())
    environment = fetcher.environment()
    if arguments:  # huggingface_hub learns it when it is imported
        environment["HF_ENDPOINT"] = fake_hub.endpoint
    with subprocess.Popen(
        [sys.executable, "-m", "modeldeploy.hub", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
    ) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(msgspec.json.encode(fetcher.request("org/model")) + b"\n")
        process.stdin.flush()
        last = process.stdout.read().splitlines()[-1]
    assert process.returncode == 0
    assert isinstance(msgspec.json.decode(last, type=FetchLine), FetchDone)


def test_what_it_writes_of_a_fetch_is_in_the_log_that_is_named(
    fetcher: Fetcher, tmp_path: Path
) -> None:
    log = tmp_path / "of-this-fetch.log"
    body = (
        "import os; print('chatter'); os.system('echo child'); os.write(2, b'said'); raise OSError"
    )
    fetcher.prelude = _PATCH.format(body=body)
    request = msgspec.structs.replace(fetcher.request("org/model"), log=str(log))
    outcome = fetcher.send(msgspec.json.encode(request) + b"\n")
    assert outcome.problem.code == "internal_error"
    assert all(word in log.read_text() for word in ("child", "said", "OSError"))
    assert "said" not in outcome.stderr
    assert log.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b'{"spec": {}}', b"\xff"])
def test_a_request_that_cannot_be_read(fetcher: Fetcher, line: bytes) -> None:
    assert fetcher.send(line).problem.code == "invalid_request"


@pytest.mark.promise(23, fault="model ids that would be paths")
def test_a_malformed_id_is_refused_before_anything_is_made(fetcher: Fetcher) -> None:
    problem = fetcher.problem("org/../../x")
    assert problem.code == "invalid_model_id"
    assert not fetcher.cache.exists()


def test_what_others_print_is_not_on_our_standard_output(fetcher: Fetcher) -> None:
    body = (
        "import os; print('chatter'); os.write(1, b'more'); os.system('echo child'); raise OSError"
    )
    fetcher.prelude = _PATCH.format(body=body)
    outcome = fetcher.run("org/model")
    assert "chatter" not in outcome.stdout
    assert len(outcome.lines) == 1
    assert all(word in outcome.stderr for word in ("more", "child"))


@pytest.mark.promise(22, fault="the fetcher fails with the token in its words")
def test_the_unexpected_is_told_with_its_last_lines_and_without_secrets(fetcher: Fetcher) -> None:
    fetcher.token = TOKEN
    body = f"raise KeyError('Bearer {TOKEN} at https://u:p@h/x?Signature=abc')"
    fetcher.prelude = _PATCH.format(body=body)
    outcome = fetcher.run("org/model")
    assert outcome.problem.code == "internal_error"
    assert "KeyError" in outcome.problem.message
    assert any("resolve" in line for line in outcome.problem.details)
    for text in (outcome.stdout, outcome.stderr):
        assert "KeyError" in text
        assert not any(secret in text for secret in (TOKEN, "Signature=abc", "u:p@"))


@pytest.mark.parametrize("case", ["fine", "refused", "broken", "malformed"])
@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.promise(22, fault="a Hub that redirects to another origin")
def test_the_token_is_nowhere_but_in_requests_to_the_hub(
    fake_hub: FakeHub, fetcher: Fetcher, case: str, stored: bool
) -> None:
    token = TOKEN + " x" if case == "malformed" else TOKEN
    if stored:
        fetcher.env = {"HF_TOKEN": token}
    else:
        fetcher.token = token
    fake_hub.add("org/model", files())
    fake_hub.redirects_lfs = True
    fake_hub.admitted |= {TOKEN} if case != "refused" else set()
    if case == "broken":
        fake_hub.fault("*", status=500)
    with fetcher.start("org/model") as running:
        argv = Path(f"/proc/{running.process.pid}/cmdline")
        assert not argv.exists() or TOKEN.encode() not in argv.read_bytes()
        outcome = running.finish()
    assert outcome.returncode == (0 if case == "fine" else 1)
    assert TOKEN not in outcome.stdout + outcome.stderr
    for file in fetcher.cache.rglob("*"):
        assert not file.is_file() or TOKEN.encode() not in file.read_bytes()
    sent = {request.origin for request in fake_hub.requests if request.authorization}
    assert sent <= {"hub"}


def test_the_supervisors_offline_variable_does_not_decide(
    fake_hub: FakeHub, fetcher: Fetcher
) -> None:
    fake_hub.add("org/model", files())
    fetcher.env = {"HF_HUB_OFFLINE": "1", "HF_DEBUG": "1"}
    fetcher.token = "hf_known"
    outcome = fetcher.run("org/model")
    assert outcome.model.commit
    assert "curl" not in outcome.stderr


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = (
        "import sys, json, modeldeploy.hub, modeldeploy.modelids, modeldeploy.hub.__main__;"
        "print(json.dumps([m for m in ('huggingface_hub', 'httpx2', 'torch', 'transformers')"
        " if m in sys.modules]))"
    )
    answer = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert json.loads(answer.stdout) == []


def test_only_the_first_ending_is_told() -> None:
    reader, writer = os.pipe()
    wire = Wire(writer, Redactor())
    ending = FetchFailed(problem=Problem(code="x", message="y"))
    ended: list[bool] = []
    threads = [threading.Thread(target=lambda: ended.append(wire.end(ending))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wire.send(FetchProgress(stage=Stage.VALIDATE, fraction=0, message="late"))
    os.close(writer)
    with os.fdopen(reader, "rb") as lines:
        assert lines.read().count(b"\n") == 1
    assert sorted(ended) == [False] * 7 + [True]


def test_bytes_are_told_ten_times_a_second_and_news_at_once() -> None:
    told: list[FetchLine] = []
    now = 0.0
    reporter = Reporter(told.append, lambda: now)
    for step in range(100):
        now = step * 0.01
        reporter.tick(Stage.DOWNLOAD, step / 100, f"{step}")
    assert 10 <= len(told) <= 11
    reporter.say(Stage.DOWNLOAD, 1.0, "all")
    reporter.tick(Stage.DOWNLOAD, 1.0, "all")
    assert 11 <= len(told) <= 12


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("Authorization: Bearer abc.def", "Authorization: Bearer ***"),
        ("a hf_abcdefghijk b", "a *** b"),
        ("https://cdn.example/f?X-Amz-Signature=1&b=2 failed", "https://cdn.example/f?*** failed"),
        ("https://me:pw@hub.example/x", "https://***@hub.example/x"),
        ("what? nothing", "what? nothing"),
    ],
)
def test_secrets_are_replaced(text: str, clean: str) -> None:
    assert Redactor()(text) == clean
