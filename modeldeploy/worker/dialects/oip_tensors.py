"""A task's inputs and outputs as named tensors.

In: one BYTES tensor per input field. An element is the field's text, base64 (or, sent as bytes,
the file itself) where the field is a file, and JSON where the field is anything else.
Out: ``result``, which is FP32 where the task answers with equally long lists of numbers and else
one JSON text per input; for labels with scores also ``label`` and ``score``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import chain
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Struct
from msgspec.structs import astuple

from modeldeploy.errors import InvalidRequest
from modeldeploy.schema.tasks import TaskSchema, alternatives
from modeldeploy.worker.dialects.oip_wire import InputTensor, Produced

_ANY = -1

_Reader = Callable[[str | bytes, str], Any]


class TensorInfo(Struct, frozen=True, kw_only=True):
    """A tensor before its sizes are known: -1 stands for any."""

    name: str
    datatype: Literal["BYTES", "FP32"]
    shape: list[int]


def taken(task: TaskSchema) -> list[TensorInfo]:
    """The tensors of a request; those of optional fields may be left out."""
    return [
        TensorInfo(name=name, datatype="BYTES", shape=[_ANY])
        for name in task.inputs.__struct_fields__
    ]


def given(task: TaskSchema, *, tokenwise: bool = False) -> list[TensorInfo]:
    """The tensors of a response; ``tokenwise``: of a model that gives a vector for each token."""
    if list[float] in alternatives(task.output):
        shape = [_ANY, _ANY, _ANY] if tokenwise else [_ANY, _ANY]
        return [TensorInfo(name="result", datatype="FP32", shape=shape)]
    result = TensorInfo(name="result", datatype="BYTES", shape=[_ANY])
    if not _is_labels(task):
        return [result]
    return [
        result,
        TensorInfo(name="label", datatype="BYTES", shape=[_ANY, _ANY]),
        TensorInfo(name="score", datatype="FP32", shape=[_ANY, _ANY]),
    ]


def _is_labels(task: TaskSchema) -> bool:
    """Whether the output is a list of nothing but labels with scores."""
    if get_origin(task.output) is not list:
        return False
    (item,) = get_args(task.output)
    return getattr(item, "__struct_fields__", None) == ("label", "score")


def inputs(
    task: TaskSchema, tensors: Sequence[InputTensor], columns: Sequence[list[str | bytes]]
) -> list[Any]:
    """One of the task's ``inputs`` for each row of the tensors.

    Raises:
        InvalidRequest: a tensor is unknown, there twice, missing, of another length or holds
            something that its field does not take.
    """
    _check_names(task, [tensor.name for tensor in tensors])
    count = len(columns[0])
    for tensor, column in zip(tensors, columns, strict=True):
        if len(column) != count:
            raise InvalidRequest(
                f"input {tensor.name!r} has {len(column)} elements, {tensors[0].name!r} {count}",
                hint="every tensor has one element per prediction",
            )
    readers = _readers(task)
    made = []
    for tensor, column in zip(tensors, columns, strict=True):
        read = readers[tensor.name]
        made.append([read(one, f"{tensor.name}[{row}]") for row, one in enumerate(column)])
    names = [tensor.name for tensor in tensors]
    return [task.inputs(**dict(zip(names, row, strict=True))) for row in zip(*made, strict=True)]


def _check_names(task: TaskSchema, names: list[str]) -> None:
    known = task.inputs.__struct_fields__
    missing = [name for name in task.required if name not in names]
    wrong = [name for name in names if name not in known or names.count(name) > 1]
    if wrong or missing:
        what = f"{wrong[0][:100]!r} is unknown or twice" if wrong else f"{missing[0]!r} is missing"
        raise InvalidRequest(f"inputs: {what}", hint=f"{task.name} takes {', '.join(known)}")


@cache
def _readers(task: TaskSchema) -> Mapping[str, _Reader]:
    """What reads one element of each field's tensor."""
    hints = get_type_hints(task.inputs, include_extras=True)
    return {name: _reader(hint) for name, hint in hints.items()}


def _is_file(kind: Any) -> bool:
    return bool(msgspec.json.schema(kind).get("contentEncoding") == "base64")


def _reader(hint: Any) -> _Reader:
    """What reads one element of a field's tensor, said where it is."""
    present = [kind for kind in alternatives(hint) if kind is not type(None)]
    file = next((kind for kind in present if _is_file(kind)), None)
    other = present[0] if len(present) == 1 else hint  # an optional field that is there
    is_text = msgspec.json.schema(other).get("type") == "string"

    def read(element: str | bytes, where: str) -> Any:
        if isinstance(element, bytes):
            if file is not None and not element.isascii():
                return element
            element = _text(element, where)
        kind = other if file is None or element[:1] == "[" else file  # or a list of files
        try:
            if is_text or kind is file:
                return msgspec.convert(element, kind)
            return msgspec.json.decode(element, type=kind)
        except msgspec.DecodeError as error:  # a ValidationError is one too
            raise InvalidRequest(f"{where}: {error}", hint=_HINT) from error

    return read


_HINT = "GET /info has an example body, GET /openapi.json the schema"


def _text(raw: bytes, where: str) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"{where} is not UTF-8 ({error.reason})", hint=_HINT) from error


def outputs(task: TaskSchema, results: list[Any]) -> list[Produced]:
    """The response's tensors: the first dimension is one input's each."""
    made = [_result(task, results)]
    if _is_labels(task) and (width := _width(results)) is not None:
        flat = list(chain.from_iterable(results))
        shape = [len(results), width]
        made.append(Produced("label", "BYTES", shape, [one.label.encode() for one in flat]))
        made.append(Produced("score", "FP32", shape, [one.score for one in flat]))
    return made


def _width(rows: list[Any]) -> int | None:
    """The length of every row, if they are all of one."""
    lengths = {len(row) for row in rows}
    return lengths.pop() if len(lengths) == 1 else None


def _result(task: TaskSchema, results: list[Any]) -> Produced:
    count = len(results)
    if task.hf.binary:
        return Produced("result", "BYTES", [count], [astuple(one)[0] for one in results], True)
    if list[float] in alternatives(task.output) and isinstance(results[0], list):
        flat, shape = _flattened(results)
        if shape is None:
            raise InvalidRequest(
                "texts of different lengths have different numbers of vectors, which is no tensor",
                hint='send them one by one, or ask for one vector each with "pooling": "mean"',
            )
        return Produced("result", "FP32", shape, flat)
    return Produced("result", "BYTES", [count], [msgspec.json.encode(one) for one in results])


def _flattened(rows: list[Any]) -> tuple[list[Any], list[int] | None]:
    """The numbers of nested lists and their shape, or None where lists differ in length."""
    shape = [len(rows)]
    while isinstance(rows[0], list):
        width = _width(rows)
        if width is None:
            return [], None
        shape.append(width)
        rows = list(chain.from_iterable(rows))
        if not rows:
            break
    return rows, shape
