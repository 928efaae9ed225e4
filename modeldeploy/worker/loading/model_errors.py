"""What a foreign model file can make transformers raise, as one line of cause."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

import torch
import transformers
from safetensors import SafetensorError

from modeldeploy.errors import (
    ModelDeployError,
    ModelError,
    ModelTooLarge,
    RemoteCodeRefused,
    UnsupportedModel,
)
from modeldeploy.worker.failures import one_line, panics_as_errors

_MISSING = re.compile(r"Missing optional dependencies: (\w[\w ,-]*)")
TRUST_HINT = "if you have read that code and trust it, deploy with --trust-remote-code"


@contextlib.contextmanager
def typed_errors(what: str) -> Iterator[None]:
    """The boundary around transformers: its errors become ours.

    Raises:
        ModelError: or a kind of it; ``what`` names what was being loaded.
    """
    try:
        with panics_as_errors():
            yield
    except ModelDeployError:
        raise
    except SafetensorError as error:
        raise ModelError(
            f"a weights file is damaged: {one_line(error)}",
            hint="modeldeploy start NAME checks the files and fetches what is damaged again",
        ) from error
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise _too_large(error) from error
    except ImportError as error:
        raise UnsupportedModel(
            f"{what} needs a package that is not installed: {one_line(error)}",
            hint="install it beside modeldeploy, then modeldeploy start NAME",
        ) from error
    except Exception as error:  # whatever else a foreign model file can provoke
        raise _explained(what, error) from error


def _too_large(error: BaseException) -> ModelTooLarge:
    return ModelTooLarge(
        f"the model does not fit into memory: {one_line(error)}",
        hint="a smaller model, a smaller dtype (--dtype bfloat16), or another --device",
    )


def _explained(what: str, error: Exception) -> ModelError:
    said = str(error)
    if "trust_remote_code" in said:
        return RemoteCodeRefused(f"{what} asks to run code of its own", hint=TRUST_HINT)
    if "not recognize this architecture" in said or "Unrecognized model" in said:
        return UnsupportedModel(
            f"transformers {transformers.__version__} does not know this architecture",
            hint="see config.json; a newer transformers may know it",
        )
    if missing := _MISSING.search(said):
        return UnsupportedModel(
            f"{what} needs a package that is not installed: {missing.group(1)}",
            hint="install it beside modeldeploy, then modeldeploy start NAME",
        )
    if "can't allocate memory" in said or "out of memory" in said:
        return _too_large(error)
    return ModelError(
        f"{what} cannot be loaded: {one_line(error)}", hint="see modeldeploy logs NAME"
    )
