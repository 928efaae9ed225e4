"""A worker's life as a process: starts, tells of itself, drains, ends."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from modeldeploy.schema.stages import Stage
from modeldeploy.schema.threads import Threads
from modeldeploy.schema.worker import Limits, WorkerReport
from modeldeploy.supervisor.links import ask_listener
from modeldeploy.transport import UnixConnection
from tests.models import tiny
from tests.worker.live import SECONDS, LiveWorker, eventually, live_worker


def _listen(worker: LiveWorker, seconds: float, until: str = "") -> list[WorkerReport]:
    """The reports of one stream, until a phase or the time is reached."""
    eventually(lambda: Path(worker.spec.socket).exists())
    connection = UnixConnection(worker.spec.socket, SECONDS)
    reports = []
    deadline = time.monotonic() + seconds
    with contextlib.closing(connection):
        connection.request("GET", "/events")
        for line in connection.getresponse():
            reports.append(msgspec.json.decode(line, type=WorkerReport))
            if reports[-1].phase == until or time.monotonic() > deadline:
                break
    return reports


def test_the_front_of_a_worker_imports_no_torch() -> None:
    story = (
        "import sys; import modeldeploy.worker.boot, modeldeploy.worker.tasks.echo;"
        "from modeldeploy.worker.dialects import kinds; kinds();"
        "assert not {'torch', 'transformers', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", story], check=True)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="asks Linux's /proc")
def test_a_task_without_a_model_never_loads_torch(tmp_path: Path) -> None:
    with live_worker(tmp_path, "echo", tmp_path, graphs=str(tmp_path)) as echo:
        echo.until("ready")
        assert echo.predict(text="x").status == 200
        assert "libtorch" not in Path(f"/proc/{echo.process.pid}/maps").read_text()


def test_it_reports_what_it_is_and_at_least_once_a_second(echo: LiveWorker) -> None:
    before = time.monotonic()
    reports = _listen(echo, 2.2)
    assert len(reports) >= 3
    assert len(reports) <= 2 + 10 * (time.monotonic() - before)
    last = reports[-1]
    assert (last.deployment, last.replica) == ("demo", "0123456789ab")
    assert last.pid == echo.process.pid
    assert abs(last.start_time - time.time()) < 60
    assert (last.phase, last.stage, last.fraction) == ("ready", Stage.SERVER, 1.0)
    assert last.memory_bytes > 1_000_000


def test_its_private_socket_is_private_and_a_stale_file_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / "w.sock").write_text("stale")
    with live_worker(tmp_path, "echo", tmp_path) as worker:
        worker.until("ready")
        assert Path(worker.spec.socket).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("how", ["signal", "insider"])
@pytest.mark.promise(5, fault="a worker is told to end with requests under way")
def test_it_answers_what_it_accepted_and_ends(echo: LiveWorker, how: str) -> None:
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        running = [pool.submit(echo.predict, text=str(n), delay=1.0 + n / 100) for n in range(2)]
        eventually(lambda: (report := echo.report()) and report.in_flight == 2)
        if how == "signal":
            echo.process.terminate()
        else:
            assert echo.insider("POST", "/drain").status == 202
        eventually(lambda: (report := echo.report()) and report.phase == "draining")
        echo.listener.close()
        eventually(lambda: _refuses(echo))
        assert [one.result().status for one in running] == [200, 200]
    assert echo.process.wait(SECONDS) == 0
    assert not Path(echo.spec.socket).exists()


def _refuses(worker: LiveWorker) -> bool:
    try:
        worker.ask("GET", "/livez")
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return False


@pytest.mark.promise(5, fault="a worker is told to end with a request that outlasts the deadline")
def test_draining_has_an_end(tmp_path: Path) -> None:
    with live_worker(tmp_path, "echo", tmp_path, drain_timeout=1.0) as worker:
        worker.until("ready")
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            endless = pool.submit(worker.predict, text="x", delay=50)
            eventually(lambda: (report := worker.report()) and report.in_flight == 1)
            started = time.monotonic()
            worker.process.terminate()
            assert worker.process.wait(SECONDS) == 0
            assert time.monotonic() - started < 5
            cut_off = endless.result()
            assert (cut_off.status, cut_off.code) == (503, "shutting_down")
            assert int(cut_off.headers["retry-after"]) > 0


def test_a_second_signal_ends_it_at_once(echo: LiveWorker) -> None:
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        slow = pool.submit(echo.predict, text="x", delay=8)
        eventually(lambda: (report := echo.report()) and report.in_flight == 1)
        echo.process.terminate()
        eventually(lambda: (report := echo.report()) and report.phase == "draining")
        echo.process.terminate()
        assert echo.process.wait(5) == 128 + signal.SIGTERM
        assert slow.exception() is not None
    assert not Path(echo.spec.socket).exists()


def test_a_real_model_is_loaded_with_its_progress_told(tmp_path: Path) -> None:
    snapshot = tiny.classifier(tmp_path / "model")
    with live_worker(
        tmp_path, "text-classification", snapshot, limits=Limits(load_wait=0.1)
    ) as worker:
        early = eventually(lambda: (a := worker.ask("GET", "/health")).status and a)
        assert (early.status, early.body["status"]) == (503, "loading")
        assert early.body["stage"] == "load"
        assert 55 <= early.body["percent"] <= 60
        waited = worker.predict(text="x")
        assert (waited.status, waited.code) == (503, "not_ready")
        assert int(waited.headers["retry-after"]) > 0
        assert "stage load" in waited.body["error"]["message"]
        reports = _listen(worker, SECONDS, until="ready")
        stages = [report.stage for report in reports]
        assert stages == sorted(stages, key=list(Stage).index)
        assert (reports[-1].device, reports[-1].dtype) == ("cpu", "float32")
        answer = worker.predict(texts=["I love this product!", "terrible"], top_k=2)
        assert answer.status == 200
        assert [{one["label"] for one in each} for each in answer.body["result"]] == [
            {"BAD", "GOOD"}
        ] * 2
        too_long = worker.predict(texts=["fine", "love " * 100])
        assert (too_long.status, too_long.code) == (422, "input_too_long")
        assert too_long.body["error"]["message"].startswith("texts[1]: ")
        info = worker.ask("GET", "/info").body
        assert info["max_input_length"] == 64
        assert info["parameters"] > 10_000
        for line in worker.log().splitlines():
            assert "Loading weights" not in line


def test_a_request_waits_for_a_model_that_is_nearly_there(tmp_path: Path) -> None:
    with live_worker(tmp_path, "echo", tmp_path) as worker:
        assert worker.predict(text="early").status == 200


def test_a_model_that_cannot_be_loaded_is_told_and_then_it_ends(tmp_path: Path) -> None:
    snapshot = tiny.classifier(tmp_path / "model")
    with live_worker(tmp_path, "question-answering", snapshot) as worker:
        report = worker.until("failed")
        assert report.problem is not None
        assert report.problem.code == "wrong_task"
        assert "--task text-classification" in report.problem.hint
        health = worker.ask("GET", "/health")
        assert (health.status, health.body["status"]) == (503, "unhealthy")
        body = {"question": "a", "context": "b"}
        assert worker.ask("POST", "/predict", body).code == "not_ready"
        worker.process.terminate()
        assert worker.process.wait(SECONDS) == 0


def test_it_gives_its_listening_socket_to_whoever_may_ask(echo: LiveWorker) -> None:
    given = ask_listener(Path(echo.spec.handover))
    assert given is not None
    with given:
        assert given.getsockname() == echo.listener.getsockname()
        assert not given.get_inheritable()
    assert Path(echo.spec.handover).stat().st_mode & 0o777 == 0o600
    echo.process.terminate()
    assert echo.process.wait(SECONDS) == 0
    assert not Path(echo.spec.handover).exists()
    assert ask_listener(Path(echo.spec.handover)) is None


@pytest.mark.skipif(not Path("/proc/self/fdinfo").exists(), reason="asks Linux's /proc")
def test_nothing_is_inherited_by_its_children(echo: LiveWorker) -> None:
    process = Path(f"/proc/{echo.process.pid}")
    for fd in (process / "fd").iterdir():
        try:
            info = (process / "fdinfo" / fd.name).read_text()
        except FileNotFoundError:  # closed meanwhile
            continue
        flags = int(info.split("flags:")[1].split()[0], 8)
        assert int(fd.name) <= 2 or flags & os.O_CLOEXEC, f"fd {fd.name}"


def test_it_takes_its_number_of_threads_from_whoever_has_its_private_socket(
    echo: LiveWorker,
) -> None:
    order = {"count": 3, "why": "3 of 8 cores: 1 other deployment is busy"}
    assert echo.ask("GET", "/info").body["threads"]["count"] == echo.spec.threads == 1
    assert echo.insider("PUT", "/threads", json.dumps(order)).status == 204
    assert echo.ask("GET", "/info").body["threads"] == order
    for wrong in ('{"count": 0}', '{"count": "2"}', "{}", "no"):
        assert echo.insider("PUT", "/threads", wrong).status == 400, wrong
    report = echo.report()
    assert report is not None
    assert report.threads == msgspec.convert(order, Threads)
    assert echo.ask("PUT", "/threads", json.dumps(order)).status == 404, "users have no say in it"


def test_it_tells_how_long_there_was_something_to_do(echo: LiveWorker) -> None:
    def busy() -> float:
        report = echo.report()
        assert report is not None
        return report.busy_seconds

    assert busy() == 0
    assert echo.predict(text="x", delay=0.3).status == 200
    assert 0.3 <= busy() == busy()
