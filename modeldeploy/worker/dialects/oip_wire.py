"""The Open Inference Protocol's messages, and tensors as bytes behind the JSON.

The protocol: kserve ``open-inference-protocol/specification/protocol/inference_rest.md``; the bytes:
Triton's binary tensor data extension (``extension_binary_data.md``), in which every element of a
BYTES tensor follows its own length, 4 bytes little-endian.
"""

from __future__ import annotations

import array
import base64
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct, field
from msgspec.structs import fields

from modeldeploy.errors import InvalidRequest, MalformedBody
from modeldeploy.schema.tasks import TaskSchema, task_parameters

HEADER_LENGTH = "inference-header-content-length"
_LENGTH_BYTES = 4
_MOST_DIGITS = 18  # of a length: Python refuses to read thousands

Side = Annotated[int, Meta(ge=1)]


class BinarySize(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    binary_data_size: Annotated[int, Meta(ge=0)] | None = None


class InputTensor(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``shape`` is [n] or [n, 1]; ``data`` is missing where the elements follow as bytes."""

    name: str
    shape: Annotated[list[Side], Meta(min_length=1, max_length=2)]
    datatype: Literal["BYTES"]
    parameters: BinarySize = BinarySize()
    data: list[str | list[str]] | None = None


class WantedBinary(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    binary_data: bool | None = None


class WantedOutput(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str
    parameters: WantedBinary = WantedBinary()


class InferRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every task's own request shares; ``outputs`` are all where they are not named."""

    id: str = ""
    inputs: Annotated[list[InputTensor], Meta(min_length=1)]
    outputs: list[WantedOutput] = []


class OutputTensor(Struct, frozen=True, kw_only=True, omit_defaults=True):
    name: str
    datatype: Literal["BYTES", "FP32"]
    shape: list[int]
    parameters: BinarySize = BinarySize()
    data: list[Any] | None = None


class InferResponse(Struct, frozen=True, kw_only=True, omit_defaults=True):
    model_name: str
    model_version: str
    id: str = ""
    outputs: list[OutputTensor]


@cache
def infer_request(task: TaskSchema) -> type[Struct]:
    """The body of ``.../infer``: the task's parameters, and whether bytes are wanted back. Where
    the task demands a parameter, ``parameters`` must be there."""
    parameters = msgspec.defstruct(
        "InferParameters",
        [("binary_data_output", bool, False)],
        bases=(task_parameters(task),),
        kw_only=True,
        forbid_unknown_fields=True,
    )
    demands = any(one.required for one in fields(parameters))
    column: Any = ("parameters", parameters)
    return msgspec.defstruct(
        "TaskInferRequest",
        [column if demands else (*column, field(default_factory=parameters))],
        bases=(InferRequest,),
        kw_only=True,
        forbid_unknown_fields=True,
    )


def head_length(header: str | None, body: bytes) -> int:
    """Bytes of JSON at the start of a body.

    Raises:
        MalformedBody: the header is not a number, or names more than there is.
    """
    if header is None:
        return len(body)
    is_number = header.isascii() and header.isdigit() and len(header) <= _MOST_DIGITS
    if not is_number or int(header) > len(body):
        raise MalformedBody(
            f"{HEADER_LENGTH} is {header[:40]!r}, and the body has {len(body)} bytes",
            hint="it counts the bytes of the JSON before the tensors",
        )
    return int(header)


def elements(tensors: Sequence[InputTensor], tail: bytes) -> list[list[str | bytes]]:
    """The flat elements of each tensor, texts from JSON and bytes from ``tail``.

    Raises:
        InvalidRequest: shape and data do not fit each other. MalformedBody: ``tail`` is not what
            the tensors say of it.
    """
    found: list[list[str | bytes]] = []
    at = 0
    for tensor in tensors:
        size = tensor.parameters.binary_data_size
        if (size is None) == (tensor.data is None):
            raise InvalidRequest(
                f"input {tensor.name!r} must have either data or binary_data_size",
                hint="data is a list of strings; bytes follow the JSON",
            )
        values: list[str | bytes]
        if tensor.data is not None:
            values = _flat(tensor.name, tensor.shape, tensor.data)
        else:
            assert size is not None
            values = _unpacked(tail[at : at + size], size, tensor.name)
            at += size
        _check_shape(tensor, len(values))
        found.append(values)
    if at != len(tail):
        raise MalformedBody(
            f"{len(tail)} bytes follow the JSON, the tensors take {at} of them",
            hint=f"see binary_data_size and the header {HEADER_LENGTH}",
        )
    return found


def _flat(name: str, shape: list[int], data: list[str | list[str]]) -> list[str | bytes]:
    """Rows may be lists where the shape has them, and then are of one element each."""
    flat: list[str | bytes] = []
    for one in data:
        if isinstance(one, list):
            if len(shape) != 2 or len(one) != 1:
                raise InvalidRequest(
                    f"input {name!r} has a row of {len(one)} elements and the shape {shape}",
                    hint="data is a list of strings, or of lists of one each for a shape of [n, 1]",
                )
            (one,) = one
        flat.append(one)
    return flat


def _unpacked(raw: bytes, size: int, name: str) -> list[str | bytes]:
    values: list[str | bytes] = []
    at = 0
    while at < len(raw):
        start = at + _LENGTH_BYTES
        at = start + int.from_bytes(raw[at:start], "little")
        values.append(raw[start:at])
    if at != size:
        raise MalformedBody(
            f"input {name!r}: its {size} bytes are not elements behind their lengths",
            hint="4 bytes little-endian, then the element, as often as the shape says",
        )
    return values


def _check_shape(tensor: InputTensor, count: int) -> None:
    if tensor.shape[0] != count or tensor.shape[1:] not in ([], [1]):
        raise InvalidRequest(
            f"input {tensor.name!r} has {count} elements and the shape {tensor.shape}",
            hint=f"the shape is [{count}] or [{count}, 1]",
        )


@dataclass(frozen=True)
class Produced:
    """An output: its flat elements, floats for FP32 and bytes for BYTES. ``opaque`` says that
    they are no text, so that JSON carries them in base64."""

    name: str
    datatype: Literal["BYTES", "FP32"]
    shape: list[int]
    values: Sequence[Any]
    opaque: bool = False

    def as_json(self) -> OutputTensor:
        return OutputTensor(
            name=self.name, datatype=self.datatype, shape=self.shape, data=self._plain()
        )

    def _plain(self) -> list[Any]:
        if self.datatype == "FP32":
            return list(self.values)
        if self.opaque:
            return [base64.b64encode(one).decode() for one in self.values]
        return [one.decode() for one in self.values]

    def as_bytes(self) -> tuple[OutputTensor, bytes]:
        raw = self._packed()
        size = BinarySize(binary_data_size=len(raw))
        tensor = OutputTensor(
            name=self.name, datatype=self.datatype, shape=self.shape, parameters=size
        )
        return tensor, raw

    def _packed(self) -> bytes:
        if self.datatype == "BYTES":
            return b"".join(len(one).to_bytes(_LENGTH_BYTES, "little") + one for one in self.values)
        floats = array.array("f", self.values)
        if sys.byteorder == "big":
            floats.byteswap()
        return floats.tobytes()
