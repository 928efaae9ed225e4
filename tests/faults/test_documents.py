"""Schemathesis over the documents of the front door: its own, of all deployments, and the control
API's. Those of each task are tried by ``tests/clients/test_schemathesis.py``."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from schemathesis import GenerationMode

from tests.clients.conforming import conform, tame_echo
from tests.e2e.instance import Instance, eventually, get

pytestmark = pytest.mark.e2e

ENDLESS = "/api/v1/watch"
END = "/api/v1/shutdown"


@pytest.fixture(scope="module")
def fronted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """A front door over one deployment, ``e``."""
    model = tmp_path_factory.mktemp("echo")
    (model / "config.json").write_text('{"model_type": "echo", "architectures": ["Echo"]}')
    with tempfile.TemporaryDirectory(prefix="md-") as folder:
        one = Instance(Path(folder) / "home", MODELDEPLOY_GATEWAY="true")
        try:
            one.deploy(str(model), "--name", "e")
            eventually(lambda: get(f"{one.front}/openapi.json")[1]["components"]["schemas"])
            yield one
        finally:
            one.close()


@pytest.mark.promise(19, fault="whatever the front door's document allows and forbids")
@pytest.mark.parametrize("mode", GenerationMode)
def test_the_front_doors_document_is_so(fronted: Instance, mode: GenerationMode) -> None:
    schema = schemathesis.openapi.from_url(f"{fronted.front}/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations()]
    assert any(one.path.startswith("/deployments/e/") for one in operations)
    assert any(one.path.startswith("/v1/") for one in operations)
    with requests.Session() as session:
        for operation in operations:
            conform(operation, mode, session, tame_echo)
    assert fronted.inspect("e")["restarts"] == 0


@pytest.mark.promise(19, fault="whatever the control API's document allows and forbids")
@pytest.mark.promise(17, fault="whatever the control API's document allows and forbids")
@pytest.mark.parametrize("mode", GenerationMode)
def test_the_control_apis_document_is_so(fronted: Instance, mode: GenerationMode) -> None:
    token = (fronted.home / "state" / "api-token").read_text().strip()
    bearer = {"authorization": f"Bearer {token}"}
    daemon = fronted.daemon_pid()
    schema = schemathesis.openapi.from_url(f"{fronted.front}/api/openapi.json", headers=bearer)
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) > 10

    def tame(case: Any) -> None:
        if "name" in (case.path_parameters or {}):
            case.path_parameters["name"] = "e" if case.method == "GET" else "nobody"
        if isinstance(case.query, dict) and case.query.get("follow") in {True, "true"}:
            case.query["follow"] = "false"
        _keep_to(fronted.home.parent, case.body)

    with requests.Session() as session:
        session.headers.update(bearer)
        for operation in operations:
            is_over = operation.path == END and mode is GenerationMode.POSITIVE
            if operation.path != ENDLESS and not is_over:
                conform(operation, mode, session, tame)
    assert fronted.daemon_pid() == daemon
    assert fronted.inspect("e")["state"] == "RUNNING"


def _keep_to(folder: Path, body: Any) -> None:
    """What is deployed may fail, but not fill other folders, or ask foreign hosts."""
    if not isinstance(body, dict):
        return
    spec, hub = body.get("spec"), body.get("hub")
    if isinstance(spec, dict) and isinstance(spec.get("cache_dir"), str):
        spec["cache_dir"] = str(folder / "cache")
    if isinstance(hub, dict) and isinstance(hub.get("endpoint"), str):
        hub["endpoint"] = "http://127.0.0.1:9"
