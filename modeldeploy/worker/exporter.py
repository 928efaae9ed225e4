"""``python -m modeldeploy.worker.exporter FOLDER RUNTIME PRECISION``: the graph of a worker's model, made beside it.

Its standard input is a line with the worker's spec and stays open: at its end the worker is gone,
and so is this process. It is nice, before torch is imported, computes with one thread, and writes the graph's note, or one
that says why the model has none; of what has befallen itself (a disk that is full, a model that was
removed meanwhile) it tells nobody but the log.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from pathlib import Path
from typing import NoReturn

import msgspec

from modeldeploy.errors import ModelDeployError
from modeldeploy.schema.graph import Form, GraphNote
from modeldeploy.schema.worker import WorkerSpec
from modeldeploy.worker import examples, forms, loader
from modeldeploy.worker.compute import graph_cache, pruning

_NICEST = 19


def main(arguments: list[str]) -> NoReturn:
    _step_back()
    os.umask(0o077)  # what writes the graph asks for no modes
    logging.basicConfig(level=logging.ERROR)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it tells of every package it misses
    spec = msgspec.json.decode(sys.stdin.buffer.readline(), type=WorkerSpec)
    threading.Thread(target=_end_with_the_worker, daemon=True).start()
    _, place, *words = arguments
    form = msgspec.convert(words, Form)
    with graph_cache.being_made(Path(place)) as folder:
        if folder is not None:
            note = _made(spec, folder, form)
            pruning.write_origin(folder, spec.snapshots, spec.task, form)
            graph_cache.write_note(folder, note)
    pruning.prune(Path(place).parent)
    os._exit(0)  # the thread that reads holds on to standard input


def _step_back() -> None:
    """Compute only while nobody else wants to, as far as the system has that."""
    os.nice(_NICEST)
    if hasattr(os, "SCHED_IDLE"):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def _end_with_the_worker() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


def _made(spec: WorkerSpec, folder: Path, form: Form) -> GraphNote:
    from modeldeploy.worker.compute.export import NotExportable  # with torch

    adapter = loader.opened(spec)
    try:
        return make(adapter, spec, folder, form)
    except (NotExportable, ModelDeployError) as error:
        return GraphNote(refused=str(error))


def make(adapter: loader.AnyAdapter, spec: WorkerSpec, folder: Path, form: Form) -> GraphNote:
    """The graph of a prepared adapter's model, in ``folder``.

    Raises:
        NotExportable: with one line of cause.
    """
    from modeldeploy.worker.compute.export import NotExportable  # as above

    if not forms.exports(adapter):
        raise NotExportable("this model is not run as a graph")
    items = examples.items(adapter, loader.find_task(spec))
    return adapter.make_graph(items, folder, form, spec.threads)


if __name__ == "__main__":
    main(sys.argv)
