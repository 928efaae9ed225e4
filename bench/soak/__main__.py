"""``make soak``: an hour of modest load on everything, and what grew meanwhile.

``python -m bench.soak [MINUTES]``. A home of its own; five deployments, the gateway, clients that
stream, leave and err; a deployment that is stopped and started, another that comes and goes; logs of
which many fit into a run. Each minute a sample is taken and the file of results written anew.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench import ending, results
from bench.soak import clients, samples
from modeldeploy.errors import ModelDeployError
from tests.e2e.instance import Instance, eventually, post
from tests.faults.load import Kind, Load
from tests.models import tiny

RESULT = results.FOLDER / "soak.json"
LOG_BYTES, LOG_FILES = 200_000, 2
_ECHO = '{"model_type": "echo", "architectures": ["Echo"]}'
_EVERY = 60.0  # seconds between samples
_UNTOLD = {Kind.BROKEN, Kind.WRONG, Kind.LATE}


class Soak:
    """One run in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.instance = Instance(
            folder / "home",
            MODELDEPLOY_GATEWAY="true",
            MODELDEPLOY_WARM_START="true",
            MODELDEPLOY_LOG_MAX_BYTES=str(LOG_BYTES),
            MODELDEPLOY_LOG_FILES=str(LOG_FILES),
        )
        self.loads: dict[str, Load] = {}
        self._samples: list[samples.Sample] = []
        self._extras = itertools.count()

    def _begin(self) -> dict[str, str]:
        """Where the deployments are."""
        echo = self._folder / "echo"
        echo.mkdir()
        (echo / "config.json").write_text(_ECHO)
        models = {
            "echo": str(echo),
            "restless": str(echo),
            "sentiment": "builtin/sentiment",
            "digits": "builtin/digits",
            "chat": str(tiny.chat(self._folder / "chat")),
        }
        self.instance.run("daemon", "start")
        eventually(lambda: self.instance.client.status().template == "ready")
        return {
            name: str(self.instance.deploy(model, "--name", name)["url"])
            for name, model in models.items()
        }

    # What happens beside the load.

    def _look_around(self) -> None:
        """What a person with a dashboard does."""
        client = self.instance.client
        client.deployments()
        list(client.logs("echo", tail=20))
        list(client.events("sentiment", follow=False))
        next(client.watch())  # and away
        for path in ("/metrics", "/v1/models", "/openapi.json", "/"):
            self._get(path)

    def _get(self, path: str) -> None:
        host = self.instance.front.removeprefix("http://")
        with contextlib.closing(http.client.HTTPConnection(host, timeout=60)) as connection:
            connection.request("GET", path)
            connection.getresponse().read()

    def _come_and_go(self) -> None:
        name, client = f"extra-{next(self._extras)}", self.instance.client
        self.instance.ask_for(str(self._folder / "echo"), name)
        post(f"{client.wait(name, timeout=60).url}/predict", {"text": "x"})
        client.remove(name)
        client.wait_gone(name)

    def _stop_and_start(self) -> None:
        self.instance.client.stop("restless")
        self.instance.client.wait("restless", timeout=60)
        self.instance.client.start("restless")
        self.instance.client.wait("restless", timeout=60)

    def _restart(self) -> None:
        self.instance.client.restart("restless")
        self.instance.client.wait("restless", timeout=60)

    # The run.

    def run(self, minutes: float) -> None:
        urls = self._begin()
        self.loads = clients.everybody(urls, self.instance.front)
        beside: list[tuple[float, Callable[[], None]]] = [
            (10.0, self._look_around),
            (60.0, self._come_and_go),
            (180.0, self._stop_and_start),
            (240.0, self._restart),
        ]
        with contextlib.ExitStack() as stack:
            for load in self.loads.values():
                stack.enter_context(load)
            begun = time.monotonic()
            due = {what: begun + every for every, what in beside}
            next_sample = begun
            while time.monotonic() < begun + minutes * 60:
                if time.monotonic() >= next_sample:
                    self._sample(begun)
                    next_sample += _EVERY
                for every, what in beside:
                    if time.monotonic() >= due[what]:
                        what()
                        due[what] += every
                time.sleep(0.5)
            self._sample(begun)

    def _sample(self, begun: float) -> None:
        self._samples.append(samples.take(self.instance, begun))
        results.save(RESULT, self.found())
        print(_line(self._samples[-1]), flush=True)

    def found(self) -> dict[str, object]:
        fates = {name: dict(load.kinds()) for name, load in self.loads.items()}
        lost = [
            (name, fate.kind.value, fate.status, fate.said)
            for name, load in self.loads.items()
            for fate in list(load.fates)
            if fate.kind in _UNTOLD
        ]
        return {
            **results.header("soak"),
            "minutes": self._samples[-1]["minute"],
            "log_cap": LOG_BYTES * (LOG_FILES + 1),
            "requests": fates,
            "lost": lost[:20],
            "growth": samples.growth(self._samples) if len(self._samples) > 1 else {},
            "samples": self._samples,
        }


def _line(sample: samples.Sample) -> str:
    each = (
        f"{what} {one['uss_mb']:.1f}/{one['descriptors']:.0f}/{one['threads']:.0f}"
        for what, one in sample["processes"].items()
    )
    return f"{sample['minute']:6.1f} min  logs {sample['logs'] / 1e6:.2f} MB  {'  '.join(each)}"


def _report(found: dict[str, dict[str, dict[str, float]]]) -> str:
    rows = [
        [
            what,
            *(f"{one[f'{figure}_first']:.1f}" for figure in ("uss_mb",)),
            f"{one['uss_mb_last']:.1f}",
            f"{one['uss_mb_hourly']:+.2f}",
            f"{one['descriptors_first']:.0f} → {one['descriptors_last']:.0f}",
            f"{one['threads_first']:.0f} → {one['threads_last']:.0f}",
        ]
        for what, one in found["growth"].items()
    ]
    heads = ("process", "MB of its own", "at the end", "by the hour", "descriptors", "threads")
    return results.table(heads, rows)


def main(minutes: str = "60") -> None:
    ending.heed()
    with tempfile.TemporaryDirectory(prefix="md-") as folder:
        soak = Soak(Path(folder))
        try:
            soak.run(float(minutes))
            found = soak.found()
        except ModelDeployError as error:
            raise SystemExit(f"{error}\n{soak.instance.run('daemon', 'logs').stdout}") from error
        finally:
            soak.instance.close()
    print(_report(found))  # type: ignore[arg-type]
    for name, kinds in found["requests"].items():  # type: ignore[attr-defined]
        print(f"  {name}: {kinds}")


if __name__ == "__main__":
    main(*sys.argv[1:])
