"""What runs a graph: ONNX Runtime or OpenVINO, each behind the same small interface.

Neither one's threads spin for long or are tied to cores: two deployments on the same cores would starve
each other.
"""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

import numpy.typing as npt

from modeldeploy.schema.graph import Form, Precision, Runtime

Arrays = dict[str, npt.NDArray[Any]]
Dimensions = tuple[int | None, ...]  # None: of any size

FILE, WEIGHTS = "graph.onnx", "weights.bin"
_NAMES: dict[Runtime, tuple[str, str]] = {
    "onnx": ("ONNX Runtime", "onnxruntime"),
    "openvino": ("OpenVINO", "openvino"),
}
_SPIN_MICROSECONDS, _BOUNDS_SPINNING = 20, (1, 32)  # and the version that this was measured with
_HINTS = {"float32": "f32", "bfloat16": "bf16"}  # left alone, OpenVINO takes bfloat16 where it can


class Session(Protocol):
    """An opened graph; ``inputs`` are the names and sizes that it takes, ``shared`` says whether
    threads may run it at once."""

    shared: bool
    threads: int
    inputs: dict[str, Dimensions]

    def run(self, given: Arrays) -> list[npt.NDArray[Any]]:
        """Its outputs, in order."""


def opened(form: Form, folder: Path, threads: int) -> Session:
    """The graph in the folder. Raises whatever the runtime does on a file that it cannot read."""
    if form.runtime == "openvino":
        return OpenVinoSession(folder, threads, form.precision)
    return OnnxSession(folder, threads)


def named(runtime: Runtime) -> str:
    """Its name and version, for people."""
    name, package = _NAMES[runtime]
    return f"{name} {metadata.version(package)}"


class OnnxSession:
    """In ONNX Runtime, already optimised for this CPU: its weights are mapped from the file."""

    shared = True

    def __init__(self, folder: Path, threads: int) -> None:
        import onnxruntime

        self.threads = threads
        options = session_options(threads)
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        self._session = onnxruntime.InferenceSession(
            str(folder / FILE), options, providers=["CPUExecutionProvider"]
        )
        self.inputs = _sizes(self._session.get_inputs())
        self.outputs = _sizes(self._session.get_outputs())

    def run(self, given: Arrays) -> list[npt.NDArray[Any]]:
        found: list[npt.NDArray[Any]] = self._session.run(None, given)
        return found

    def binding(self) -> Any:
        """Something to bind places in memory to, by the names of inputs and outputs."""
        return self._session.io_binding()

    def run_bound(self, binding: Any) -> None:
        self._session.run_with_iobinding(binding)


def _sizes(nodes: Any) -> dict[str, Dimensions]:
    return {
        one.name: tuple(size if isinstance(size, int) else None for size in one.shape)
        for one in nodes
    }


def session_options(threads: int) -> Any:
    """ONNX Runtime's, with so many threads that spin as long as from one operator to the next, or not at
    all where the runtime knows no such bound."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors
    spins = tuple(map(int, onnxruntime.__version__.split(".")[:2])) >= _BOUNDS_SPINNING
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spins)))
    options.add_session_config_entry("session.intra_op.spin_duration_us", str(_SPIN_MICROSECONDS))
    return options


class OpenVinoSession:
    """In OpenVINO, which compiles the plain graph when it is opened."""

    shared = False

    def __init__(self, folder: Path, threads: int, precision: Precision = "float32") -> None:
        self.threads = threads
        model = (
            _openvino()
            .Core()
            .compile_model(
                str(folder / FILE),
                "CPU",
                {
                    "PERFORMANCE_HINT": "LATENCY",
                    "INFERENCE_NUM_THREADS": threads,
                    "INFERENCE_PRECISION_HINT": _HINTS[precision],
                    "ENABLE_CPU_PINNING": False,
                },
            )
        )
        self._request, self._outputs = model.create_infer_request(), model.outputs
        self.inputs: dict[str, Dimensions] = {
            one.any_name: tuple(
                size.get_length() if size.is_static else None for size in one.partial_shape
            )
            for one in model.inputs
        }

    def run(self, given: Arrays) -> list[npt.NDArray[Any]]:
        found = self._request.infer(given)
        return [found[one] for one in self._outputs]


def _openvino() -> Any:
    """The package, without its telemetry: importing it would send an event and leave an id in the
    home; where the package that does it cannot be imported, OpenVINO goes on without."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # Python's own way
    import openvino

    return openvino
