"""``python -m modeldeploy.worker.template``: has imported everything heavy, computed nothing, and
forks workers, which then begin where another would be seconds later.

Its standard input is a socket: the first message it sends says that it is ready; then each order
is one message, the path of a worker's spec with the listening socket, the log's descriptor and
the leash beside it, answered by the worker's pid. It ends when the other end is closed.

A worker must not inherit a thread pool (OpenMP's hang after a fork), so nothing here may compute,
and a process with a second thread refuses to be a template.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import logging
import os
import pkgutil
import signal
import socket
import sys
from pathlib import Path
from typing import NoReturn

import msgspec

from modeldeploy import worker
from modeldeploy.schema.worker import ForkAnswer, ForkOrder
from modeldeploy.worker import boot

log = logging.getLogger(__name__)

_TRANSFORMERS = (
    *("modeling_utils", "modeling_layers", "masking_utils", "pytorch_utils", "generation"),
    *("integrations.hub_kernels", "image_processing_utils", "tokenization_utils_tokenizers"),
    *("models.auto.modeling_auto", "models.auto.tokenization_auto"),
    *("models.auto.image_processing_auto", "models.auto.processing_auto"),
)
# The architectures that are asked for most; any other is imported by its first worker.
_MODELS = (
    "bert",
    "distilbert",
    "roberta",
    "gpt2",
    "llama",
    "qwen2",
    "t5",
    "vit",
    "clip",
    "whisper",
)
_MESSAGE_BYTES = 64 * 1024


def main() -> int:
    control = socket.socket(fileno=os.dup(0))
    _import_all()
    answer = ForkAnswer(error=_unfit())
    gc.collect()
    gc.freeze()  # pages that no collection touches stay shared with the workers
    with contextlib.suppress(OSError):
        control.send(msgspec.json.encode(answer))
    if answer.error:
        return 1
    while True:
        raw, fds, _, _ = socket.recv_fds(control, _MESSAGE_BYTES, 3)
        if not raw:
            return 0
        order = msgspec.json.decode(raw, type=ForkOrder)
        _fork(order, control, *fds)
        for fd in fds:
            os.close(fd)


def _import_all() -> None:
    from modeldeploy.schema.tasks import TASKS

    modules = [f"transformers.{name}" for name in _TRANSFORMERS]
    for kind in ("modeling", "tokenization"):
        modules += [f"transformers.models.{name}.{kind}_{name}" for name in _MODELS]
    modules += [task.adapter.partition(":")[0] for task in TASKS.values()]
    modules.append("onnxruntime")  # its telemetry, which would be a second thread, is off
    _import(*modules, *_own())
    _compile_patterns()


def _own() -> list[str]:
    """All that a worker may need of ours: small files, which are many together."""
    return [one.name for one in pkgutil.walk_packages(worker.__path__, f"{worker.__name__}.")]


def _compile_patterns() -> None:
    """Of the names of weights, a thousand: transformers has them made when the first model is loaded."""
    try:
        from transformers.conversion_mapping import get_checkpoint_conversion_mapping

        get_checkpoint_conversion_mapping("")
    except Exception:  # another version may have something else: then each worker makes its own
        log.info("transformers' patterns are not there", exc_info=True)


def _import(*modules: str) -> None:
    for name in modules:
        try:
            importlib.import_module(name)
        except ImportError:  # another version may not have it
            continue
        except Exception:  # a broken package is the affair of the worker that needs it
            log.exception("%s cannot be imported", name)


def _unfit() -> str:
    """Why this process may not fork, or nothing."""
    threads = len(list(Path("/proc/self/task").iterdir()))
    return f"{threads} threads are running after the imports" if threads > 1 else ""


def _fork(order: ForkOrder, control: socket.socket, listener: int, log: int, leash: int) -> None:
    """Start a worker that is nobody's child here: the supervisor adopts and reaps it."""
    middle = os.fork()
    if middle:
        os.waitpid(middle, 0)
        return
    child = os.fork()
    if child:
        with contextlib.suppress(OSError):  # whoever asked has gone, and so will the worker
            control.send(msgspec.json.encode(ForkAnswer(number=order.number, pid=child)))
        os._exit(0)
    control.close()
    _become_worker(order, listener, log, leash)


def _become_worker(order: ForkOrder, listener: int, log: int, leash: int) -> NoReturn:
    code = 1
    try:
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        for fd in (nothing, log):
            os.close(fd)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        code = boot.run(order.spec_file, listener, leash)
    finally:
        os._exit(code)


if __name__ == "__main__":
    sys.exit(main())
