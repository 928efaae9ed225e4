from __future__ import annotations

import asyncio
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from modeldeploy import machine, settings
from modeldeploy.errors import ModelDeployError
from modeldeploy.schema.deployment import NAME_PATTERN, DeployRequest, Spec
from modeldeploy.schema.states import Desired
from modeldeploy.supervisor.clock import Clock
from modeldeploy.supervisor.manager import Manager, default_name

OLD_PORT, OTHER_PORT = 9001, 9002


class Standing:
    """A deployment as far as a manager looks at one that is to be removed."""

    def __init__(self, port: int) -> None:
        self.reservation = SimpleNamespace(port=port)
        self.aims: list[Desired] = []

    def aim(self, desired: Desired) -> None:
        self.aims.append(desired)


def manager_of(folder: Path, **actors: Any) -> Manager:
    values = settings.load({}, {"MODELDEPLOY_HOME": str(folder)}, folder)
    values.paths.make()
    store: Any = SimpleNamespace(kept=[])
    engine: Any = SimpleNamespace(warmth="off")
    made = Manager(values, store, engine, Clock())
    made._actors.update(actors)
    made.watch._views = list  # what is told does not matter here
    return made


def test_workers_share_the_cores_that_the_supervisor_may_keep_busy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "_shares", lambda: iter([1.2]))  # as of docker --cpus 1.2
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    assert manager_of(tmp_path)._around.budget.cores == 2


def request(replace: bool = True, name: str = "old", **spec: Any) -> DeployRequest:
    return DeployRequest(
        spec=Spec(model_id="gpt2", cache_dir="/c", **spec), name=name, replace=replace
    )


def test_what_is_replaced_is_removed_first_and_waited_for(tmp_path: Path) -> None:
    async def story() -> None:
        old = Standing(OLD_PORT)
        manager = manager_of(tmp_path, old=old, other=Standing(OTHER_PORT))
        going = asyncio.ensure_future(manager.make_room(request(port=OLD_PORT)))
        await asyncio.sleep(0.01)
        assert old.aims == [Desired.REMOVED]
        manager.watch.tell_now()
        await asyncio.sleep(0.01)
        assert not going.done(), "it is still there"
        manager._forget("old")
        await asyncio.wait_for(going, 5)
        manager.watch.close()

    asyncio.run(story())


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"task": "no-such-task"}, "unknown_task"),
        ({"model_id": "a/b/c"}, "invalid_model_id"),
        ({"host": "0.0.0.0"}, "api_key_needed"),
        ({"port": OTHER_PORT}, "port_taken"),
        ({"python": "bin/python"}, "invalid_setting"),
        ({"env": {"HF_TOKEN": "hf_x"}}, "invalid_setting"),
    ],
)
def test_what_would_be_refused_takes_no_place(
    wrong: dict[str, Any], code: str, tmp_path: Path
) -> None:
    old = Standing(OLD_PORT)
    manager = manager_of(tmp_path, old=old, other=Standing(OTHER_PORT))
    given = {"model_id": "gpt2", "cache_dir": "/c", **wrong}
    order = DeployRequest(spec=Spec(**given), name="old", replace=True)
    with pytest.raises(ModelDeployError) as caught:
        asyncio.run(manager.make_room(order))
    assert caught.value.code == code
    assert old.aims == []


@pytest.mark.parametrize("order", [request(replace=False), request(name="new")])
def test_room_is_made_only_where_it_is_asked_for_and_none(
    order: DeployRequest, tmp_path: Path
) -> None:
    old = Standing(OLD_PORT)
    asyncio.run(manager_of(tmp_path, old=old).make_room(order))
    assert old.aims == []


@pytest.mark.parametrize(
    ("model_id", "name"),
    [
        ("gpt2", "gpt2"),
        ("gpt2@main", "gpt2"),
        ("org/Some_Model.v1", "some-model-v1"),
        ("/home/me/My Models/__x__", "x"),
        ("org/m-GGUF:sub/M.Q4_K.gguf", "m-q4-k"),
        ("org/m-GGUF:M.gguf", "m"),
        ("/models/My.GGUF", "my"),
        ("/models/日本", "model"),
        ("o/" + "a" * 90, "a" * 63),
    ],
)
def test_a_default_name_is_the_last_segment_made_to_fit(model_id: str, name: str) -> None:
    import re

    assert default_name(model_id) == name
    assert re.match(NAME_PATTERN, name)
