"""What a backend that was asked for allows, and asks for."""

from __future__ import annotations

from modeldeploy.errors import InvalidSetting
from modeldeploy.schema.deployment import Spec
from modeldeploy.supervisor import devices


def check(spec: Spec) -> None:
    """
    Raises:
        InvalidSetting: a graph was asked for, and something that no graph can be.
    """
    if not _is_graph(spec):
        return
    option = f"--backend {spec.backend}"
    if spec.optimize == "no":
        raise InvalidSetting(
            f"{option} runs another form of the model, and --no-optimize runs it as it is",
            hint="leave one of them out",
        )
    if spec.device not in {"auto", "cpu"} or spec.force_gpu:
        asked = "FORCE_GPU is set" if spec.force_gpu else f"--device {spec.device} was asked for"
        raise InvalidSetting(
            f"{option} computes on the CPU, and {asked}", hint="use --backend torch on a GPU"
        )
    if spec.dtype not in {"auto", "float32"}:
        raise InvalidSetting(
            f"{option} runs models in float32, and --dtype {spec.dtype} was asked for",
            hint="leave --dtype out; --optimize computes in less where results stay close",
        )


def place(spec: Spec) -> tuple[str, str]:
    """The device and the dtype that a worker is told."""
    if _is_graph(spec):
        return "cpu", "float32"
    # A torch that sees no GPU would take the CPU for ``auto``.
    must_be_gpu = spec.force_gpu and spec.device == "auto" and not devices.has_mps()
    return "cuda" if must_be_gpu else spec.device, spec.dtype


def _is_graph(spec: Spec) -> bool:
    return spec.backend in {"onnx", "openvino"}
