"""What the fake supervisor shows and tells."""

from __future__ import annotations

import time
from typing import Any

from msgspec.structs import replace

from modeldeploy.schema.deployment import Deployment, Replica, Spec
from modeldeploy.schema.events import Event
from modeldeploy.schema.problem import Problem
from modeldeploy.schema.stages import Stage, overall
from modeldeploy.schema.states import Desired, State
from modeldeploy.schema.tasks import TASKS

BYTES, TENSORS = 548_118_077, 148
NO_MEMORY = Problem(
    code="worker_died",
    message="the worker was killed (SIGKILL): the machine ran out of memory",
    hint="see modeldeploy logs NAME; modeldeploy start NAME tries again",
    details=["loading model.safetensors", "allocating 548 MB"],
)


def deployment(name: str = "gpt2", model_id: str = "gpt2", **changes: Any) -> Deployment:
    url = "http://127.0.0.1:8100"
    made = Deployment(
        name=name,
        model_id=model_id,
        revision="607a30d783dfa663caf39e06633721c8d4cfcd7e",
        task="text-generation",
        model_type="nlp",
        state=State.RUNNING,
        desired=Desired.RUNNING,
        port=8100,
        url=url,
        device="cpu",
        dtype="float32",
        created_at=time.time() - 8000,
        ready_at=time.time() - 7500,
        stage=Stage.COMPLETE,
        percent=100.0,
        message="ready",
        restarts=0,
        requests=1234,
        memory_bytes=712_000_000,
        error=None,
        replicas=[
            Replica(
                id="0123456789ab",
                pid=4242,
                started_at=time.time(),
                ready=True,
                memory_bytes=712_000_000,
                requests=1234,
            )
        ],
        spec=Spec(model_id=model_id, cache_dir="/cache"),
        snapshot="/cache/models--gpt2/snapshots/607a30d",
        endpoints={route: f"{url}/{route}" for route in ("predict", "health", "info", "docs")},
        example=TASKS["text-generation"].example,
    )
    return replace(made, **changes)


def story(end: Problem | None = None) -> list[Event]:
    """What a first deploy of a Hub model tells."""
    told: list[tuple[State, Stage, float, str, int, int, str]] = [
        (State.PENDING, Stage.VALIDATE, 0.0, "accepted", 0, 0, ""),
        (State.FETCHING, Stage.VALIDATE, 0.0, "checking the model", 0, 0, ""),
        (State.FETCHING, Stage.VALIDATE, 0.5, "gpt2 is for text-generation", 0, 0, ""),
    ]
    for part in range(21):
        done = BYTES * part // 20
        words = "downloading 6 of 6 files, 548 MB" if part < 20 else "6 files, 548 MB"
        told.append((State.FETCHING, Stage.DOWNLOAD, part / 20, words, done, BYTES, "bytes"))
    told.append((State.STARTING, Stage.DOWNLOAD, 1.0, "starting a worker", 0, 0, ""))
    for count in range(0, TENSORS + 1, 37):
        words = "GPT2LMHeadModel in float32"
        told.append((State.STARTING, Stage.LOAD, count / TENSORS, words, count, TENSORS, "tensors"))
    if end is None:
        told += [
            (State.STARTING, Stage.PIPELINE, 0.5, "text-generation, GPT2Tokenizer", 0, 0, ""),
            (State.STARTING, Stage.SERVER, 1.0, "listening on 127.0.0.1:8100", 0, 0, ""),
            (State.STARTING, Stage.COMPLETE, 0.1, "asking for a first prediction", 0, 0, ""),
            (State.RUNNING, Stage.COMPLETE, 1.0, "ready", 0, 0, ""),
        ]
    now = time.time()
    events = [
        Event(
            seq=seq,
            time=now + seq * 0.01,
            run=1,
            state=state,
            stage=stage,
            percent=overall(stage, fraction),
            message=message,
            done=done,
            total=total,
            unit=unit,
        )
        for seq, (state, stage, fraction, message, done, total, unit) in enumerate(told, 1)
    ]
    if end:
        last = replace(
            events[-1],
            seq=events[-1].seq + 1,
            state=State.FAILED,
            message=end.message,
            error=end,
            done=0,
            total=0,
            unit="",
        )
        events.append(last)
    return events
