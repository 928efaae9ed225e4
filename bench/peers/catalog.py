"""The peers: what pip installs for each, how it is started, how it is asked."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.peers import asking, llama
from bench.peers.asking import Ask
from bench.peers.process import Problem
from tests.models import smollm2

TEXTS = frozenset({"classification", "embeddings", "many"})
ALL = TEXTS | {"noop", "image"}
CHAT = frozenset({"chat"})
_SERVERS = "bench.peers.servers"
_CORES = str(os.cpu_count() or 1)


@dataclass(frozen=True)
class Job:
    """What is to be served: ``snapshot`` is None for a no-op; ``folder`` is the server's own and
    goes with it, ``models`` stays; ``port`` and the two after it are free; ``python`` is that of
    the peer's environment."""

    workload: str
    snapshot: Path | None
    folder: Path
    models: Path
    port: int
    python: str
    device: str = "cpu"
    dtype: str = "float32"

    def environment(self) -> dict[str, str]:
        return {
            "BENCH_WORKLOAD": self.workload,
            "BENCH_SNAPSHOT": str(self.snapshot or ""),
            "BENCH_PORT": str(self.port),
            "BENCH_DEVICE": self.device,
            "BENCH_DTYPE": self.dtype,
        }


Command = Callable[[Job], list[str]]


@dataclass(frozen=True)
class Peer:
    """``distribution`` is whose version is told; ``requirements`` are empty where our own environment
    has all; ``venv`` is the environment's name where it is shared. What ``build`` compiles beside its
    interpreter is named by what it gives. ``usual`` peers are measured unless others are asked for."""

    title: str
    workloads: frozenset[str]
    command: Command
    ask: Callable[[str, Sequence[str]], Ask]
    distribution: str
    requirements: tuple[str, ...] = ()
    venv: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    build: Callable[[Path], str] | None = None
    usual: bool = True


def _module(name: str, *arguments: str) -> Command:
    return lambda job: [job.python, "-m", f"{_SERVERS}.{name}", *arguments]


def _bentoml(job: Job) -> list[str]:
    target = f"{_SERVERS}.bentoml_service:Service"
    options = ["--host", "127.0.0.1", "--port", str(job.port), "--working-dir", str(job.folder)]
    return [job.python, "-m", "bentoml", "serve", target, *options]


def _mlserver(job: Job) -> list[str]:
    settings = {
        "host": "127.0.0.1",
        "http_port": job.port,
        "grpc_port": job.port + 1,
        "metrics_port": job.port + 2,
        "parallel_workers": int(_CORES),
    }
    model = {"name": asking.MODEL, "implementation": f"{_SERVERS}.mlserver_runtime.Runtime"}
    (job.folder / "settings.json").write_text(json.dumps(settings))
    (job.folder / "model-settings.json").write_text(json.dumps(model))
    program = "from mlserver.cli import main; main()"
    return [job.python, "-c", program, "start", str(job.folder)]


def _infinity(engine: str) -> Command:
    def command(job: Job) -> list[str]:
        snapshot = _with_onnx(job) if engine == "optimum" else str(job.snapshot)
        options = {
            "--model-id": snapshot,
            "--served-model-name": asking.MODEL,
            "--engine": engine,
            "--device": job.device,
            "--dtype": job.dtype,
            "--host": "127.0.0.1",
            "--port": str(job.port),
            "--log-level": "warning",
        }
        flat = [word for option in options.items() for word in option]
        run = _module("infinity_cli", "v2", *flat, "--no-bettertransformer")
        return run(job)

    return command


def _with_onnx(job: Job) -> str:
    """infinity's ONNX engine wants a file beside the weights: made once, optimised by infinity."""
    name = "classification" if job.workload == "classification" else "embeddings"
    folder = job.models / f"{name}-onnx"
    if not folder.exists():
        done = subprocess.run(
            [*_module("export_onnx")(job), str(job.snapshot), str(folder), name],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        )
        if done.returncode:
            raise Problem(f"no ONNX file: {done.stderr.strip().splitlines()[-1:]}")
    return str(folder)


def _transformers(*more: str) -> Command:
    def command(job: Job) -> list[str]:
        options = ["--host", "127.0.0.1", "--port", str(job.port), "--device", job.device]
        options += ["--dtype", job.dtype, *more]
        program = "from transformers.cli.transformers import main; main()"
        # It answers for the name that it was started with only.
        link = job.folder / asking.MODEL
        if not link.exists():
            link.symlink_to(Path(str(job.snapshot)).resolve())
        return [job.python, "-c", program, "serve", asking.MODEL, *options]

    return command


def _llama(kind: str) -> Command:
    """The GGUF file that our snapshot was made of, or what llama.cpp's quantiser makes of it: a slot for
    each of our clients, in the memory that it would take for one with the whole window."""

    def command(job: Job) -> list[str]:
        binaries = Path(job.python).parent
        file = job.models / f"SmolLM2-135M-Instruct.{kind}.gguf"
        if not file.exists():
            llama.quantise(binaries, smollm2.file(), file, kind)
        options = ["--host", "127.0.0.1", "--port", str(job.port), "--threads", _CORES]
        options += ["--parallel", "8", "--ctx-size", "8192"]
        return [str(binaries / "llama-server"), "--model", str(file), *options]

    return command


_THREAD_EACH = {"OMP_NUM_THREADS": "1"}
_INFINITY = ("infinity-emb[server,torch,optimum]",)
_SERVING = ("transformers[serving]",)

PEERS: dict[str, Peer] = {
    "bare": Peer(
        "bare Starlette route",
        frozenset({"noop"}),
        _module("starlette_app", "bare"),
        asking.plain,
        "starlette",
    ),
    "naive": Peer(
        "naive: Starlette + pipeline in a threadpool",
        ALL,
        _module("starlette_app", "naive"),
        asking.plain,
        "starlette",
    ),
    "litserve": Peer(
        "LitServe, a worker a core",
        ALL,
        _module("litserve_app"),
        asking.plain,
        "litserve",
        ("litserve",),
        environment=_THREAD_EACH,
    ),
    "litserve-batched": Peer(
        "LitServe, batches of 8",
        ALL,
        _module("litserve_app"),
        asking.plain,
        "litserve",
        ("litserve",),
        venv="litserve",
        environment={"BENCH_BATCH": "8"},
        usual=False,
    ),
    "bentoml": Peer(
        "BentoML, adaptive batching", ALL, _bentoml, asking.plain, "bentoml", ("bentoml",)
    ),
    "ray": Peer(
        "Ray Serve, @serve.batch",
        ALL,
        _module("ray_app"),
        asking.plain,
        "ray",
        ("ray[serve]",),
        environment={"RAY_USAGE_STATS_ENABLED": "0"},
    ),
    "mlserver": Peer(
        "MLServer, a worker a core",
        ALL,
        _mlserver,
        asking.open_inference,
        "mlserver",
        ("mlserver", "uvloop<0.22"),  # 1.7 relies on an event loop that later ones do not make
        environment=_THREAD_EACH,
    ),
    "infinity-torch": Peer(
        "infinity, torch",
        TEXTS,
        _infinity("torch"),
        asking.infinity,
        "infinity-emb",
        _INFINITY,
        venv="infinity",
    ),
    "infinity-onnx": Peer(
        "infinity, ONNX Runtime",
        TEXTS,
        _infinity("optimum"),
        asking.infinity,
        "infinity-emb",
        _INFINITY,
        venv="infinity",
    ),
    "transformers": Peer(
        "transformers serve",
        CHAT,
        _transformers(),
        asking.chat,
        "transformers",
        _SERVING,
    ),
    "transformers-cb": Peer(
        "transformers serve --continuous-batching",
        CHAT,
        _transformers("--continuous-batching"),
        asking.chat,
        "transformers",
        _SERVING,
        venv="transformers",
    ),
    "llama-server": Peer(
        "llama.cpp's server, Q8_0",
        CHAT,
        _llama("Q8_0"),
        asking.chat,
        "",
        ("cmake", "ninja"),
        build=llama.build,
    ),
    "llama-server-q4": Peer(
        "llama.cpp's server, Q4_1",
        CHAT,
        _llama("Q4_1"),
        asking.chat,
        "",
        ("cmake", "ninja"),
        venv="llama-server",
        build=llama.build,
        usual=False,
    ),
}
