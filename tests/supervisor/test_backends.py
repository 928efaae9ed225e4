"""A backend that was asked for is had, or refused before anything is started."""

from __future__ import annotations

from typing import Any

import pytest

from modeldeploy.errors import InvalidSetting
from modeldeploy.schema.deployment import Spec
from modeldeploy.supervisor import backends


def _spec(**changes: Any) -> Spec:
    usual: dict[str, Any] = {"model_id": "m", "device": "auto", "dtype": "auto", "cache_dir": "c"}
    return Spec(**{**usual, **changes})


@pytest.mark.parametrize("backend", ["onnx", "openvino"])
@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"optimize": "no"}, "--no-optimize"),
        ({"device": "cuda:0"}, "--device cuda:0"),
        ({"device": "mps"}, "--device mps"),
        ({"force_gpu": True}, "FORCE_GPU"),
        ({"dtype": "bfloat16"}, "--dtype bfloat16"),
    ],
)
def test_a_graph_is_refused_what_it_cannot_be(
    backend: str, changes: dict[str, Any], named: str
) -> None:
    with pytest.raises(InvalidSetting, match=f"--backend {backend} .*{named}") as caught:
        backends.check(_spec(backend=backend, **changes))
    assert caught.value.hint
    for other in ("auto", "torch"):
        backends.check(_spec(backend=other, **changes))


def test_a_graph_is_computed_on_the_cpu_in_float32() -> None:
    for optimize in ("equal", "close"):
        spec = _spec(backend="onnx", optimize=optimize)
        backends.check(spec)
        assert backends.place(spec) == ("cpu", "float32")
    assert backends.place(_spec(device="cuda", dtype="float16")) == ("cuda", "float16")
