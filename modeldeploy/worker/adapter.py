"""The small interface of a task: data in, items to batch, data out.

The way of one input: ``pre`` makes items of it (any thread), ``core`` runs a batch of items that
share a key (the inference thread, or one of several at once where the adapter allows it), ``post`` makes
the result of the raw outputs (any thread).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from msgspec import Struct

from modeldeploy.schema.computing import Batching, Optimize
from modeldeploy.schema.tasks import TaskSchema
from modeldeploy.schema.worker import Reserved

if TYPE_CHECKING:
    from modeldeploy.schema.graph import StoredGraph
    from modeldeploy.worker.batching.front import Front

Inputs = TypeVar("Inputs")
Parameters = TypeVar("Parameters")


@dataclass(eq=False)
class Item:
    """A unit of work for ``core``.

    ``size`` is its cost (tokens where there are any), items with an equal ``key`` may share a
    call. ``dropped`` is set when nobody wants the answer any more: a long ``core`` looks at it.
    ``sink`` hears, in the inference thread, of each piece of an answer that is wanted as it comes.
    ``settle`` takes its outcome where that is known before the others' of the call; it is dropped then.
    ``read`` are its tokens where ``size`` is something else, ``written`` those that ``core`` has
    written for it.
    """

    data: Any
    size: int = 1
    key: Hashable = None
    dropped: bool = False
    sink: Callable[[Any], None] | None = None
    settle: Callable[[Any], None] | None = None
    read: int | None = None
    written: int = 0


class Dropped(Exception):
    """``core`` has found that nobody wants its items any more, and ends in the middle."""


@dataclass(frozen=True)
class BatchLimits:
    """At most ``items`` in a call of ``core``, and at most ``size`` (a single item may be larger):
    where items are ``padded``, the number of them times the size of the largest, else the sum.
    ``equal``: only items of one size share a call. ``unit`` is what sizes are counted in."""

    items: int = 32
    size: int = 2048
    padded: bool = True
    equal: bool = False
    unit: str = ""

    def within(self, batching: Batching) -> BatchLimits:
        """These, or what a deployment fixes instead: fewer inputs or more, but no company for what has
        none. Where size is counted in something it stays, and bounds the memory of a call."""
        items, size = self.items, self.size
        if batching.max_size and items > 1:
            items = batching.max_size
            size = size if self.unit else max(size, items)
        return replace(self, items=items, size=batching.max_tokens or size)

    def __str__(self) -> str:
        items = self.items if self.unit else min(self.items, self.size)
        inputs = f"{items} input{'s' * (items > 1)}"
        return f"{inputs} and {self.size:,} {self.unit}" if self.unit and items > 1 else inputs


@dataclass(frozen=True)
class Source:
    """What to load and how. ``progress`` takes tensors done and tensors in all. ``companion`` is a
    second snapshot that the first is loaded with: an adapter's base model, a voice's vocoder.
    ``memory`` is how many bytes the worker may take, where that is limited, ``reserved`` what is others';
    ``kept`` the folder of what is found of models."""

    snapshot: str
    task: TaskSchema
    device: str
    dtype: str
    threads: int
    trust_remote_code: bool
    allow_pickle: bool
    progress: Callable[[int, int], None]
    companion: str | None = None
    memory: int | None = None
    reserved: Reserved = field(default_factory=Reserved)
    kept: Path | None = None

    @property
    def adapter(self) -> str | None:
        """The directory of an adapter (PEFT), where that is what ``snapshot`` holds."""
        is_one = self.companion and (Path(self.snapshot) / "adapter_config.json").is_file()
        return self.snapshot if is_one else None

    @property
    def model(self) -> str:
        """The directory with ``config.json`` and the model's weights."""
        return self.companion if self.adapter and self.companion else self.snapshot


class ModelInfo(Struct, frozen=True, kw_only=True):
    """What a loaded model tells of itself; ``max_input_length`` is in tokens, ``conversations``
    says whether it has a chat template, ``tokenwise`` whether each token gets a vector of its own,
    ``runs`` how it computes, in words, ``notes`` what of its own settings is not followed."""

    device: str = "cpu"
    dtype: str = ""
    parameters: int = 0
    max_input_length: int | None = None
    conversations: bool = False
    tokenwise: bool = False
    runs: dict[str, str] = {}
    notes: tuple[str, ...] = ()


class Adapter(ABC, Generic[Inputs, Parameters]):
    """A task on one model. ``generates`` says whether the longer time limit is its own,
    ``quick_pre`` what :meth:`is_quick` does of any input."""

    quick_pre: ClassVar[bool] = True
    generates: ClassVar[bool] = False
    batch: BatchLimits = BatchLimits()

    @abstractmethod
    def load(self, source: Source) -> None:
        """Load the weights.

        Raises:
            ModelError, DeviceUnavailable: with one line of cause.
        """

    @abstractmethod
    def prepare(self, source: Source) -> None:
        """Load the tokenizer or processor.

        Raises:
            ModelError: with one line of cause.
        """

    def is_quick(self, inputs: Inputs) -> bool:
        """Whether ``pre`` of this input, if it is a short one, may run in the event loop."""
        return self.quick_pre

    @abstractmethod
    def pre(self, inputs: Inputs, parameters: Parameters) -> list[Item]:
        """The items of one input.

        Raises:
            InvalidRequest: this model cannot take this input.
        """

    def settle(self, *, optimize: Optimize, graph: StoredGraph | None = None) -> None:
        """How it computes: as fast as ``optimize`` allows, and on ``graph`` where there is one. Called
        after ``prepare`` and a first prediction."""

    def approximate(self) -> None:  # most have no such way
        """Compute faster at the price of precision, within a tolerance. Called after ``settle``, where
        that was asked for."""

    def unsettle(self) -> None:
        """Undo what made it faster: it proved not to be equal. ``settle`` comes next."""

    def made_up(self, *, together: bool) -> list[Any]:
        """What the model makes of inputs that are made up, each kind of output of all of them as a
        tensor: of each by itself, or as they share a call; nothing where the task makes up none."""
        return []

    def use_threads(self, count: int) -> None:  # there may be nothing that computes in several
        """Compute with so many CPU threads from now on. Called in the inference thread, between two
        calls of ``core``: OpenMP's number is each thread's own."""

    def take_threads(self, count: int) -> None:  # there may be nothing that computes in several
        """Have what the calling thread calls next compute with so many CPU threads, whatever others
        take."""

    def runs_abreast(self, example: list[Item]) -> bool:
        """Whether several threads may call ``core`` at once. In the inference thread."""
        return False

    @property
    def trials(self) -> tuple[int, ...]:
        """Sizes of calls that are worth timing, growing; none where calls are as they are."""
        return ()

    def trial(self, size: int, example: list[Item]) -> None:
        """A call of that size; ``example`` are an example's items. In a thread that computes."""

    def weigh(self, seconds: Callable[[Callable[[], None]], float]) -> None:
        """Find out what depends on how fast things are; ``seconds`` tells it of a call that is made
        in the inference thread."""

    @property
    def weighed(self) -> float | None:
        """What :meth:`weigh` found, to be used again; None where there is nothing to be found."""
        return None

    @weighed.setter
    def weighed(self, found: float) -> None:
        pass

    def front(
        self,
        max_queue: int,
        on_batch: Callable[[int], None],
        batching: Batching = Batching(),  # noqa: B008  # frozen
    ) -> Front:
        """Where requests wait for this model. Called in the event loop, after ``prepare``."""
        from modeldeploy.worker.batching.batcher import Batcher

        return Batcher(self.core, self.batch, max_queue, on_batch, batching, self.take_threads)

    @property
    def reserved(self) -> dict[str, int]:
        """What it may take beside what it has taken, as requests come: bytes, by the memory's name."""
        return {}

    def tokens_of(self, items: list[Item], raws: list[Any]) -> tuple[int, int]:
        """How many tokens were read for ``items``, and how many were written as ``raws``; 0 where the
        task has none, or does not count them."""
        are_tokens = self.batch.unit == "tokens" and not self.generates
        read = (item.size if item.read is None and are_tokens else item.read or 0 for item in items)
        return sum(read), sum(item.written for item in items)

    @abstractmethod
    def core(self, items: list[Item]) -> list[Any]:
        """One raw output for each item, in order. Whatever it raises fails one item alone."""

    @abstractmethod
    def post(self, raws: list[Any], inputs: Inputs, parameters: Parameters) -> Any:
        """The task's ``output`` for one input, from the raw outputs of its items in order."""

    @abstractmethod
    def info(self) -> ModelInfo:
        """Valid after ``prepare``."""
