"""What a deploy asks for, from flags and from ``--file deployment.json``; flags win."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from modeldeploy.cli import options
from modeldeploy.errors import UsageError
from modeldeploy.schema.computing import Backend, BatchSize, BatchTokens, BatchWindow, Optimize
from modeldeploy.schema.deployment import (
    Environment,
    Interpreter,
    MemoryBytes,
    ModelType,
    ThreadCount,
)


class Wanted(Struct, frozen=True, kw_only=True):
    """The options of ``deploy``."""

    model: str | None = None
    name: str | None = None
    task: str | None = None
    model_type: ModelType | None = None
    revision: str | None = None
    device: str | None = None
    dtype: str | None = None
    port: int | None = None
    cache_dir: str | None = None
    trust_remote_code: bool = False
    allow_pickle: bool = False
    host: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None
    api_key: tuple[str, ...] = ()
    allow_origin: tuple[str, ...] = ()
    allow_media_url: tuple[str, ...] = ()
    optimize: Optimize = "equal"
    backend: Backend = "auto"
    max_batch_size: int | None = None
    max_batch_tokens: int | None = None
    batch_window: float = 0.0
    threads: int | None = None
    memory: int | None = None
    python: str | None = None
    env: dict[str, str] = {}
    detach: bool = False
    timeout: float | None = None

    def over(self, typed: Mapping[str, Any]) -> Wanted:
        """This, with what was typed in place of it; of variables, those that were."""
        return replace(self, **{**typed, "env": {**self.env, **typed.get("env", {})}})

    def flags(self) -> dict[str, str | None]:
        """Those that are settings too."""
        return {
            "device": self.device,
            "dtype": self.dtype,
            "cache_dir": self.cache_dir,
            "allow_origins": ",".join(self.allow_origin) or None,
            "allow_media_urls": ",".join(self.allow_media_url) or None,
        }


class DeploymentFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``deployment.json``: the form's three names, and every option by its long name."""

    model_id: str | None = None
    deployment_name: str | None = None
    model_type: ModelType | None = None
    name: str | None = None
    type: ModelType | None = None
    task: str | None = None
    revision: str | None = None
    device: str | None = None
    dtype: Literal["auto", "float32", "float16", "bfloat16"] | None = None
    port: Annotated[int, Meta(ge=1, le=65535)] | None = None
    cache_dir: str | None = None
    trust_remote_code: bool = False
    allow_pickle: bool = False
    host: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None
    api_key: tuple[str, ...] = ()
    allow_origin: tuple[str, ...] = ()
    allow_media_url: tuple[str, ...] = ()
    optimize: Optimize = "equal"
    backend: Backend = "auto"
    max_batch_size: BatchSize | None = None
    max_batch_tokens: BatchTokens | None = None
    batch_window: BatchWindow = 0.0
    threads: ThreadCount | None = None
    memory: MemoryBytes | None = None
    python: Interpreter | None = None
    env: Environment = {}
    detach: bool = False
    timeout: Annotated[float, Meta(gt=0, le=10**9)] | None = None


_TWO_NAMES = {"name": "deployment_name", "type": "model_type"}


def read(path: str) -> Wanted:
    """
    Raises:
        UsageError: it cannot be read, is not JSON, or has a key or value that means nothing.
    """
    try:
        found = msgspec.json.decode(Path(path).read_bytes(), type=DeploymentFile)
    except OSError as error:
        raise UsageError(
            f"cannot read {path}: {error.strerror}", hint="give a JSON file"
        ) from error
    except msgspec.ValidationError as error:
        known = ", ".join(DeploymentFile.__struct_fields__)
        raise UsageError(f"{path}: {error}", hint=f"it may have {known}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not JSON: {error}", hint="mend it, or give flags") from error
    values = msgspec.structs.asdict(found)
    for one, other in _TWO_NAMES.items():
        values[other] = _either(path, values, one, other)
    values["name"] = values.pop("deployment_name")
    values["model"] = values.pop("model_id")
    values["python"] = values["python"] and options.interpreter(values["python"])
    del values["type"]
    return Wanted(**values)


def _either(path: str, values: dict[str, Any], one: str, other: str) -> Any:
    first, second = values[one], values[other]
    if first is not None and second is not None and first != second:
        raise UsageError(
            f"{path}: {one} is {first!r}, and {other} is {second!r}", hint="give one of them"
        )
    return second if first is None else first
