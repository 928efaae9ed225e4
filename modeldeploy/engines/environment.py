"""The environment variables of workers, and of other processes that are to know no secrets."""

from __future__ import annotations

from collections.abc import Mapping

from modeldeploy.errors import InvalidSetting
from modeldeploy.settings import is_secret

_OURS = "MODELDEPLOY_"


def without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """What may be handed to a process that does not speak to the Hub."""
    return {key: value for key, value in environment.items() if not is_secret(key)}


def worker_environment(
    environment: Mapping[str, str], threads: int, own: Mapping[str, str] | None = None
) -> dict[str, str]:
    """A worker's environment: its deployment's ``own`` variables, offline, telling nobody, without the
    Hub token, its threads bounded."""
    return {**without_secrets(environment), **(own or {}), **_fixed(threads)}


def _fixed(threads: int) -> dict[str, str]:
    """``OMP_WAIT_POLICY`` and ``GOMP_SPINCOUNT`` must be there before libgomp is loaded: spinning
    threads of two workers on the same cores cost fifty times (docs/architecture.md)."""
    return {
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "ORT_DISABLE_TELEMETRY": "1",
        "DISABLE_SAFETENSORS_CONVERSION": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "OMP_NUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": "PASSIVE",
        "GOMP_SPINCOUNT": "5000",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
    }


def check(own: Mapping[str, str]) -> None:
    """
    Raises:
        InvalidSetting: a variable that workers are not to have, or that each is given in any case.
    """
    for name in own:
        if is_secret(name):
            raise InvalidSetting(
                f"--env: {name} is a secret, by its name, and what is given here is stored and shown",
                hint="leave it out: what downloads takes the Hub's token from your own environment",
            )
        if name in _fixed(1) or name.startswith(_OURS):
            raise InvalidSetting(
                f"--env: {name} is set by modeldeploy for each worker",
                hint="leave it out; --threads chooses how many threads compute",
            )
