"""The model's own limit in this process: the texts sorted by length, no HTTP, batches of one size.

``python -m bench.limit SNAPSHOT TASK {auto,plain} GRAPHS DEVICE DTYPE`` prints texts a second for each line
on stdin, which is how many tokens go into a batch.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "5000")

from bench import workload


def main(snapshot: str, task: str, how: str, graphs: str, device: str, dtype: str) -> None:
    import torch

    from modeldeploy.schema.computing import Optimize
    from modeldeploy.schema.graph import Form
    from modeldeploy.schema.tasks import TASKS
    from modeldeploy.worker.adapter import Item, Source
    from modeldeploy.worker.compute import graph_cache, settling
    from modeldeploy.worker.examples import warm_up
    from modeldeploy.worker.tasks import adapter_of

    adapter = adapter_of(TASKS[task])
    source = Source(
        snapshot=snapshot,
        task=TASKS[task],
        device=device,
        dtype=dtype,
        threads=torch.get_num_threads(),
        trust_remote_code=False,
        allow_pickle=False,
        progress=lambda done, total: None,
    )
    adapter.load(source)
    adapter.prepare(source)
    optimize: Optimize = "equal" if how == "auto" else "no"
    form = Form("onnx")
    place = graph_cache.place(Path(graphs), [snapshot], task, form)
    settling.settle(
        adapter,
        lambda: warm_up(adapter, TASKS[task]),
        optimize=optimize,
        graph=graph_cache.find(place, form),
    )
    parameters = TASKS[task].parameters()
    items = sorted(
        (adapter.pre(TASKS[task].inputs(text), parameters)[0] for text in workload.texts()),
        key=lambda one: one.size,
    )
    print("ready", flush=True)
    for line in sys.stdin:
        begun, cost = time.perf_counter(), 0
        batch: list[Item] = []
        for item in items:
            if batch and cost + item.size > int(line):
                adapter.core(batch)
                batch, cost = [], 0
            batch.append(item)
            cost += item.size
        adapter.core(batch)
        print(f"{len(items) / (time.perf_counter() - begun):.2f}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
