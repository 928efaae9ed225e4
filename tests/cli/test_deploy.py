from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from modeldeploy import apikeys
from modeldeploy.cli.model import parse_model
from modeldeploy.cli.units import bytes_of
from modeldeploy.errors import UsageError
from modeldeploy.schema.control import GatewayStatus
from tests.cli.conftest import Run
from tests.cli.fake_supervisor import FakeSupervisor
from tests.cli.stories import NO_MEMORY, deployment, story


def asked(fake: FakeSupervisor) -> Any:
    return next(body for method, path, body in fake.asked if method == "POST")


def test_in_a_pipe_each_stage_is_one_plain_line_and_the_facts_are_on_stdout(
    fake: FakeSupervisor, run: Run
) -> None:
    done = run("deploy", "gpt2")
    assert done.code == 0
    for stage in ("validate", "download", "load", "pipeline", "server", "complete"):
        assert len(re.findall(rf"\] {stage}\b", done.err)) == 1
    assert len(done.err.splitlines()) == 6
    assert "endpoint  http://127.0.0.1:8100/predict" in done.out
    assert "gateway   http://127.0.0.1:8000/deployments/gpt2\n" in done.out
    assert "\x1b" not in done.err + done.out


@pytest.mark.parametrize(
    ("gateway", "line"),
    [
        (
            GatewayStatus(url="http://127.0.0.1:8001", notice="port 8000 is taken"),
            "gateway   http://127.0.0.1:8001/deployments/gpt2 (port 8000 is taken)\n",
        ),
        (GatewayStatus(notice="port 8000 is taken"), "gateway   none (port 8000 is taken)\n"),
        (GatewayStatus(), ""),
    ],
)
def test_where_the_front_door_is_and_why_is_told_to_who_deploys(
    gateway: GatewayStatus, line: str, fake: FakeSupervisor, run: Run
) -> None:
    fake.gateway = gateway
    out = run("deploy", "gpt2").out
    assert [one for one in out.splitlines(keepends=True) if one.startswith("gateway")] == (
        [line] if line else []
    )


def test_the_curl_line_is_one_line_that_a_shell_reads_as_the_example(
    fake: FakeSupervisor, run: Run
) -> None:
    lines = run("deploy", "gpt2").out.splitlines()
    words = shlex.split(next(line for line in lines if line.startswith("curl ")))
    assert words[1] == "http://127.0.0.1:8100/predict"
    assert json.loads(words[-1]) == deployment().example


def test_json_is_one_object_on_stdout_and_nothing_on_stderr(fake: FakeSupervisor, run: Run) -> None:
    done = run("deploy", "gpt2", "--json")
    assert {"name", "model_id", "revision", "task", "state", "port", "url"} <= set(done.json)
    assert (done.json["state"], done.err) == ("RUNNING", "")


def test_a_failed_deployment_ends_with_3_its_last_lines_and_what_to_do(
    fake: FakeSupervisor, run: Run
) -> None:
    fake.story = story(NO_MEMORY)
    done = run("deploy", "gpt2")
    assert done.code == 3
    assert NO_MEMORY.message in done.err
    assert "  | allocating 548 MB" in done.err
    assert "modeldeploy logs gpt2; modeldeploy start gpt2" in done.err
    assert done.out == ""
    fake.deployments.clear()
    assert run("deploy", "gpt2", "--json").error["code"] == "worker_died"


def test_detach_prints_the_name_at_once(fake: FakeSupervisor, run: Run) -> None:
    assert run("deploy", "org/Name", "-d").out == "Name\n"
    assert not [path for _, path, _ in fake.asked if "/events" in path]


def test_every_option_reaches_the_supervisor(
    fake: FakeSupervisor, run: Run, tmp_path: Path
) -> None:
    options = (
        "--name n --task text-generation --type nlp --revision v1 --device cuda:1 --dtype float16 "
        "--port 9000 --cache-dir cache --trust-remote-code --allow-pickle --detach "
        "--allow-origin http://localhost:3000/ --allow-origin https://app.example "
        "--allow-media-url Images.example --allow-media-url localhost:9000 --optimize --threads 3 "
        "--host 10.0.0.5 --ssl-certfile site.crt --ssl-keyfile /etc/site.key --memory 1.5GB "
        "--backend onnx --max-batch-size 8 --max-batch-tokens 512 --batch-window 0.01 "
        "--python envs/../env/bin/python --env A=1 --env B=x=y --env C="
    )
    assert run("deploy", "org/name", *options.split()).code == 0
    assert asked(fake)["name"] == "n"
    assert asked(fake)["spec"] == {
        "model_id": "org/name",
        "revision": "v1",
        "task": "text-generation",
        "model_type": "nlp",
        "device": "cuda:1",
        "dtype": "float16",
        "port": 9000,
        "host": "10.0.0.5",
        "ssl_certfile": str(tmp_path / "site.crt"),
        "ssl_keyfile": "/etc/site.key",
        "memory": 1_500_000_000,
        "cache_dir": str(tmp_path / "cache"),
        "trust_remote_code": True,
        "allow_pickle": True,
        "force_gpu": False,
        "download_timeout": 1800.0,
        "allow_origins": ["http://localhost:3000", "https://app.example"],
        "allow_media_urls": ["images.example", "localhost:9000"],
        "optimize": "close",
        "backend": "onnx",
        "batching": {"max_size": 8, "max_tokens": 512, "window": 0.01},
        "threads": 3,
        "python": str(tmp_path / "env/bin/python"),
        "env": {"A": "1", "B": "x=y", "C": ""},
    }


def test_an_interpreter_is_a_file_a_command_or_an_environments(
    fake: FakeSupervisor, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "python3.99"
    program.parent.mkdir()
    program.touch(0o755)
    (tmp_path / ".venv").mkdir()
    (tmp_path / "env").mkdir()
    (program.parent / "env").touch(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    (tmp_path / "d.json").write_text(json.dumps({"python": ".venv", "env": {"A": "1"}}))
    for given, found in (
        (("--python", "python3.99"), program),
        (("--python", ".venv"), tmp_path / ".venv"),
        (("--python", "env"), tmp_path / "env"),
        (("--file", "d.json"), tmp_path / ".venv"),
        (("--python", "./x"), tmp_path / "x"),
    ):
        fake.asked.clear()
        fake.deployments.clear()
        assert run("deploy", "org/name", "-d", *given).code == 0
        assert asked(fake)["spec"]["python"] == str(found)
    fake.asked.clear()
    typed = ("--env", "B=2", "--env", "A=3")
    run("deploy", "org/name", "--name", "n", "-d", "--file", "d.json")
    assert asked(fake)["spec"]["env"] == {"A": "1"}
    fake.asked.clear()
    run("deploy", "org/name", "--name", "o", "-d", "--file", "d.json", *typed)
    assert asked(fake)["spec"]["env"] == {"A": "3", "B": "2"}


@pytest.mark.parametrize(
    "given",
    [
        *(("--env", one) for one in ("A", "=1", "1A=x", "A B=x", "A=\udcff")),
        *(("--python", one) for one in ("", "/tmp/\udcff")),
    ],
)
def test_what_is_no_variable_or_no_path_is_said(
    fake: FakeSupervisor, run: Run, given: tuple[str, str]
) -> None:
    done = run("deploy", "org/name", *given)
    assert done.code == 2
    assert not [method for method, _, _ in fake.asked if method == "POST"]


@pytest.mark.parametrize(("option", "wanted"), [("--optimize", "close"), ("--no-optimize", "no")])
def test_optimize_says_how_far_results_may_go(
    fake: FakeSupervisor, run: Run, option: str, wanted: str
) -> None:
    assert run("deploy", "org/name", "-d", option).code == 0
    assert asked(fake)["spec"]["optimize"] == wanted


def test_the_users_own_variables_and_the_hub_token_reach_it(
    fake: FakeSupervisor, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_GPU", "true")
    monkeypatch.setenv("MAX_DOWNLOAD_TIMEOUT", "60")
    monkeypatch.setenv("HUGGING_FACE_HUB_TOKEN", "hf_x")
    monkeypatch.setenv("HF_ENDPOINT", "http://localhost:1")
    done = run("deploy", "gpt2", "-d", "--json")
    assert asked(fake)["spec"]["force_gpu"] is True
    assert asked(fake)["spec"]["download_timeout"] == 60
    assert asked(fake)["hub"]["token"] == "hf_x"
    assert asked(fake)["hub"]["endpoint"] == "http://localhost:1"
    assert "hf_x" not in done.out + done.err


def test_a_file_gives_the_options_and_flags_win(
    fake: FakeSupervisor, run: Run, tmp_path: Path
) -> None:
    form = {"model_id": "gpt2", "deployment_name": "mine", "model_type": "nlp", "port": 9000}
    (tmp_path / "d.json").write_text(json.dumps(form))
    assert run("deploy", "--file", "d.json", "--port", "9001", "-d").out == "mine\n"
    spec = asked(fake)["spec"]
    assert (spec["model_id"], spec["model_type"], spec["port"]) == ("gpt2", "nlp", 9001)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"model": "gpt2"}', "unknown field `model`"),
        ('{"model_id": 3}', "Expected `str"),
        ('{"model_id": "gpt2", "name": "a", "deployment_name": "b"}', "deployment_name is 'b'"),
        ('{"model_id": "gpt2", "dtype": "int8"}', "dtype"),
        ("{", "JSON"),
        ("{}", "missing MODEL"),
    ],
)
def test_a_bad_file_is_a_usage_error_that_names_the_key(
    fake: FakeSupervisor, run: Run, tmp_path: Path, text: str, says: str
) -> None:
    (tmp_path / "d.json").write_text(text)
    done = run("deploy", "--file", "d.json", "--json")
    assert done.code == 2
    assert says in done.error["message"]
    assert not fake.deployments


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ((), "usage"),
        (("gpt2", "--name", "No Good"), "invalid_name"),
        (("gpt2", "--device", "tpu"), "usage"),
        (("gpt2", "--port", "0"), "usage"),
        (("gpt2", "--dtype", "int8"), "usage"),
        (("gpt2", "--file", "missing.json"), "usage"),
        (("gpt2@a", "--revision", "b"), "usage"),
        (("gpt2", "--nonsense"), "usage"),
    ],
)
def test_wrong_usage_ends_with_2_and_says_where_to_look(
    fake: FakeSupervisor, run: Run, arguments: tuple[str, ...], code: str
) -> None:
    done = run("deploy", *arguments, "--json")
    assert (done.code, done.error["code"]) == (2, code)
    assert done.error["message"]
    assert done.error["hint"] or code == "usage"


def test_a_bad_value_in_the_environment_names_its_source(
    fake: FakeSupervisor, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELDEPLOY_DTYPE", "int8")
    assert "MODELDEPLOY_DTYPE" in run("deploy", "gpt2", "--json").error["message"]


def test_what_the_supervisor_refuses_is_told_in_its_words(fake: FakeSupervisor, run: Run) -> None:
    fake.deployments["gpt2"] = deployment()
    done = run("deploy", "gpt2")
    assert done.code == 1
    assert "there is a deployment named 'gpt2'" in done.err
    assert "choose another --name" in done.err


def test_a_timeout_says_that_it_goes_on(fake: FakeSupervisor, run: Run) -> None:
    fake.story, fake.hangs = story()[:3], True
    done = run("deploy", "gpt2", "--timeout", "0.2", "--json")
    assert (done.code, done.error["code"]) == (1, "wait_timeout")
    assert done.error["hint"] == "modeldeploy wait gpt2 re-attaches"


def test_ctrl_c_detaches_and_says_how_to_come_back(fake: FakeSupervisor) -> None:
    fake.story, fake.hangs = story()[:8], True
    typed = subprocess.Popen(
        [sys.executable, "-m", "modeldeploy", "deploy", "gpt2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not [path for _, path, _ in fake.asked if "/events" in path]:
        time.sleep(0.02)
    time.sleep(0.2)
    typed.send_signal(signal.SIGINT)
    out, err = typed.communicate(timeout=30)
    assert typed.returncode == 130
    assert "modeldeploy wait gpt2" in err
    assert "modeldeploy rm -f gpt2" in err
    assert "Traceback" not in err
    assert out == ""
    assert "gpt2" in fake.deployments


def test_a_model_is_an_id_one_with_a_revision_or_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gpt2").mkdir()
    assert parse_model("gpt2", None) == ("gpt2", None)
    assert parse_model("org/name@v1", None) == ("org/name", "v1")
    assert parse_model("org/name@v1", "v1") == ("org/name", "v1")
    assert parse_model("builtin/digits", None) == ("builtin/digits", None)
    assert parse_model("./gpt2", None) == (str(tmp_path / "gpt2"), None)
    assert parse_model("gpt2/", None) == (str(tmp_path / "gpt2"), None)
    assert parse_model("./a@b", None) == (str(tmp_path / "a@b"), None)
    assert parse_model("~/m", None)[0] == str(Path("~/m").expanduser())
    with pytest.raises(UsageError):
        parse_model("gpt2@a", "b")


@pytest.mark.parametrize(
    ("raw", "count"),
    [("800M", 800_000_000), ("1.5GB", 1_500_000_000), ("2 T", 2 * 10**12), ("1234", 1234)],
)
def test_sizes_are_read_as_they_are_written(raw: str, count: int) -> None:
    assert bytes_of(raw) == count


@pytest.mark.parametrize("raw", ["", "M", "-1M", "1m", "1GiB", "nan", "1e9"])
def test_what_is_no_size_is_refused(fake: FakeSupervisor, run: Run, raw: str) -> None:
    assert run("deploy", "org/name", f"--memory={raw}").code == 2


def test_a_new_key_is_shown_once_and_only_its_digest_is_sent(
    fake: FakeSupervisor, run: Run
) -> None:
    done = run("deploy", "org/name", "-d", "--api-key", "new")
    key = done.err.partition("shown this once: ")[2].split()[0]
    assert apikeys.checked(key)
    assert key not in done.out
    assert asked(fake)["keys"] == [{"digest": apikeys.digest_of(key), "label": ""}]
