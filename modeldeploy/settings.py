"""Every setting, in one table.

A value comes from the first of: the command's flag, the environment, ``.env`` in the current
directory, ``config.toml`` in the config directory, the default. It is read once, at the start
of a process; nothing here is read at import.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modeldeploy import paths
from modeldeploy.errors import InvalidSetting
from modeldeploy.schema.deployment import HOST_PATTERN, ORIGIN_PATTERN

DEVICES = ("auto", "cpu", "cuda", "cuda:N", "mps")
DTYPES = ("auto", "float32", "float16", "bfloat16")
_SECRET = re.compile(
    r"(TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS|API_KEY|ACCESS_KEY)\Z", re.IGNORECASE
)


def is_secret(variable: str) -> bool:
    """Whether an environment variable of this name holds a secret."""
    return _SECRET.search(variable) is not None


@dataclass(frozen=True)
class Setting:
    """One row: ``key`` in ``config.toml``, ``env`` in the environment, how its text is read."""

    key: str
    env: str
    parse: Callable[[str], Any]
    default: str
    help: str
    flag: str = ""


def _text(raw: str) -> str:
    return raw


def _optional(raw: str) -> str | None:
    return raw or None


def _seconds(raw: str) -> float:
    value = float(raw)
    if not 0 < value < 10**9:
        raise ValueError("not a positive number of seconds")
    return value


def _patience(raw: str) -> float:
    value = _seconds(raw)
    if value < 2:
        raise ValueError("less than 2 seconds: workers give a sign of life once a second")
    return value


def _count(raw: str) -> int:
    value = int(raw)
    if value < 1:
        raise ValueError("not a positive whole number")
    return value


def _switch(raw: str) -> bool:
    lowered = raw.strip().lower()
    if lowered in {"1", "true", "yes", "on"}:
        return True
    if lowered in {"", "0", "false", "no", "off"}:
        return False
    raise ValueError("not true or false")


def _port(raw: str) -> int:
    value = int(raw)
    if not 1 <= value <= 65535:
        raise ValueError("not a port")
    return value


def _port_range(raw: str) -> tuple[int, int]:
    first, dash, last = raw.partition("-")
    low, high = int(first), int(last if dash else first)
    if not 1 <= low <= high <= 65535:
        raise ValueError("not two ports, low to high, like 8100-8200")
    return low, high


def _origins(raw: str) -> tuple[str, ...]:
    given = (one.strip().rstrip("/").lower() for one in raw.split(","))
    origins = tuple(dict.fromkeys(one for one in given if one))
    for one in origins:
        if not re.match(ORIGIN_PATTERN, one):
            raise ValueError(f"{one!r} is not like https://app.example or http://localhost:3000")
    return origins


def _hosts(raw: str) -> tuple[str, ...]:
    hosts = tuple(dict.fromkeys(one.strip().lower() for one in raw.split(",") if one.strip()))
    for one in hosts:
        if not re.match(HOST_PATTERN, one):
            raise ValueError(f"{one!r} is not like images.example or localhost:9000")
    return hosts


def _one_of(*choices: str) -> Callable[[str], str]:
    def parse(raw: str) -> str:
        numbered = "cuda:N" in choices and re.fullmatch(r"cuda:[0-9]{1,2}", raw)
        if raw not in choices and not numbered:
            raise ValueError(f"not one of {', '.join(choices)}")
        return raw

    return parse


TABLE: tuple[Setting, ...] = (
    Setting(
        "home",
        "MODELDEPLOY_HOME",
        _optional,
        "",
        "One directory for state, sockets, logs and config; default: the platform's own.",
    ),
    Setting(
        "cache_dir",
        "MODELDEPLOY_CACHE_DIR",
        _optional,
        "",
        "Where models are kept; default: the Hub's own cache (HF_HUB_CACHE, HF_HOME).",
        "--cache-dir",
    ),
    Setting(
        "port_range",
        "MODELDEPLOY_PORT_RANGE",
        _port_range,
        "8100-8200",
        "The pool of ports for deployments.",
    ),
    Setting(
        "gateway",
        "MODELDEPLOY_GATEWAY",
        _switch,
        "true",
        "Open the front door: one port over all deployments.",
        "--no-gateway",
    ),
    Setting(
        "gateway_port",
        "MODELDEPLOY_GATEWAY_PORT",
        _port,
        "8000",
        "Its port; the next free one where it is taken.",
    ),
    Setting(
        "device", "MODELDEPLOY_DEVICE", _one_of(*DEVICES), "auto", "Where models run.", "--device"
    ),
    Setting(
        "dtype",
        "MODELDEPLOY_DTYPE",
        _one_of(*DTYPES),
        "auto",
        "The precision they run in.",
        "--dtype",
    ),
    Setting(
        "allow_origins",
        "MODELDEPLOY_ALLOW_ORIGINS",
        _origins,
        "",
        "Web pages that may ask deployments from a browser: their origins, comma-separated.",
        "--allow-origin",
    ),
    Setting(
        "allow_media_urls",
        "MODELDEPLOY_ALLOW_MEDIA_URLS",
        _hosts,
        "",
        "Hosts that images, sounds and videos may be fetched from where a request names a URL "
        "instead of sending them, comma-separated; host:port where the port is not the usual one.",
        "--allow-media-url",
    ),
    Setting("force_gpu", "FORCE_GPU", _switch, "false", "Refuse to deploy where there is no GPU."),
    Setting(
        "max_download_timeout",
        "MAX_DOWNLOAD_TIMEOUT",
        _seconds,
        "1800",
        "Seconds that one download may take in all.",
    ),
    Setting(
        "start_timeout",
        "MODELDEPLOY_START_TIMEOUT",
        _seconds,
        "600",
        "Seconds a worker may take from its start until it is ready.",
    ),
    Setting(
        "drain_timeout",
        "MODELDEPLOY_DRAIN_TIMEOUT",
        _seconds,
        "30",
        "Seconds that accepted requests have to be answered when a deployment stops.",
    ),
    Setting(
        "heartbeat_timeout",
        "MODELDEPLOY_HEARTBEAT_TIMEOUT",
        _patience,
        "15",
        "Seconds of silence, at least 2, after which a ready worker, or the gateway (never under 3), is "
        "taken for hung and replaced.",
    ),
    Setting(
        "warm_start",
        "MODELDEPLOY_WARM_START",
        _switch,
        "true",
        "Keep a process that has torch and transformers imported, from which workers start at "
        "once (Linux; about 330 MB).",
    ),
    Setting(
        "max_body_bytes",
        "MODELDEPLOY_MAX_BODY_BYTES",
        _count,
        str(32 * 1024 * 1024),
        "Bytes of the largest request body.",
    ),
    Setting(
        "max_texts", "MODELDEPLOY_MAX_TEXTS", _count, "1024", "Inputs that one request may carry."
    ),
    Setting(
        "max_queue",
        "MODELDEPLOY_MAX_QUEUE",
        _count,
        "512",
        "Requests that may wait at one deployment.",
    ),
    Setting(
        "request_timeout",
        "MODELDEPLOY_REQUEST_TIMEOUT",
        _seconds,
        "60",
        "Seconds that one request may take.",
    ),
    Setting(
        "generation_timeout",
        "MODELDEPLOY_GENERATION_TIMEOUT",
        _seconds,
        "600",
        "Seconds that one request to a generating model may take.",
    ),
    Setting(
        "optimize_after",
        "MODELDEPLOY_OPTIMIZE_AFTER",
        _seconds,
        "5",
        "Seconds that a model must have computed before a faster form of it is made beside it.",
    ),
    Setting(
        "log_max_bytes",
        "MODELDEPLOY_LOG_MAX_BYTES",
        _count,
        str(10 * 1024 * 1024),
        "Bytes at which a log is rotated.",
    ),
    Setting(
        "log_files", "MODELDEPLOY_LOG_FILES", _count, "3", "Rotated files kept beside each log."
    ),
)

_ROWS = {row.key: row for row in TABLE}


@dataclass(frozen=True)
class Settings:
    """The values in force. Its fields are the keys of :data:`TABLE`."""

    home: str | None
    cache_dir: str | None
    port_range: tuple[int, int]
    gateway: bool
    gateway_port: int
    device: str
    dtype: str
    allow_origins: tuple[str, ...]
    allow_media_urls: tuple[str, ...]
    force_gpu: bool
    max_download_timeout: float
    start_timeout: float
    drain_timeout: float
    heartbeat_timeout: float
    warm_start: bool
    max_body_bytes: int
    max_texts: int
    max_queue: int
    request_timeout: float
    generation_timeout: float
    optimize_after: float
    log_max_bytes: int
    log_files: int
    environment: Mapping[str, str] = field(repr=False)  # it may hold secrets

    @property
    def paths(self) -> paths.Paths:
        return paths.locate(self.home)

    @property
    def handover_timeout(self) -> float:
        """Seconds in which a gateway that another replaces has answered all that it accepted."""
        return max(self.request_timeout, self.generation_timeout) + self.drain_timeout


def _parse(row: Setting, raw: str, source: str) -> Any:
    try:
        return row.parse(raw)
    except ValueError as error:
        raise InvalidSetting(
            f"{source}: {raw!r} is not a value for {row.key} ({error})",
            hint=f"set it anew or leave it out. {row.key}: {row.help}",
        ) from error


def _read_toml(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidSetting(f"{file} is not TOML: {error}", hint="mend or remove it") from error


def _config_values(file: Path) -> dict[str, Any]:
    values = _read_toml(file)
    for key in values:
        if key not in _ROWS or key == "home":
            known = ", ".join(row.key for row in TABLE if row.key != "home")
            raise InvalidSetting(f"{file} has an unknown key {key!r}", hint=f"known: {known}")
    return values


def _read_dotenv(directory: Path) -> dict[str, str]:
    file = directory / ".env"
    if not file.is_file():
        return {}
    from dotenv import dotenv_values

    try:
        found = dotenv_values(file)
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSetting(f"{file} cannot be read: {error}", hint="mend or remove it") from error
    return {key: value for key, value in found.items() if value is not None}


def _as_text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def load(
    flags: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> Settings:
    """The settings in force for this process.

    Args:
        flags: key → value given on the command line (None: not given).
        environ: instead of ``os.environ``.
        directory: instead of the current one, for ``.env``.

    Raises:
        InvalidSetting: a value that cannot be read; the message names its source.
    """
    flags = flags or {}
    # An empty variable counts as not set, as everywhere in the Hugging Face libraries.
    given = {key: value for key, value in (environ or os.environ).items() if value}
    environment = {**_read_dotenv(directory or Path.cwd()), **given}

    def value_of(row: Setting, config: Mapping[str, Any]) -> Any:
        if flags.get(row.key) is not None:
            return _parse(row, _as_text(flags[row.key]), row.flag or row.key)
        if environment.get(row.env):
            return _parse(row, environment[row.env], row.env)
        if row.key in config:
            return _parse(row, _as_text(config[row.key]), "config.toml")
        return _parse(row, row.default, "default")

    home = value_of(_ROWS["home"], {})
    config = _config_values(paths.locate(home).config_file)
    values = {row.key: value_of(row, config) for row in TABLE}
    return Settings(**values, environment=environment)


def hub_cache(settings: Settings) -> Path:
    """The directory of the models: ours if set, else where huggingface_hub keeps its own."""
    if settings.cache_dir:
        return paths.expand(settings.cache_dir)
    env = settings.environment
    if env.get("HF_HUB_CACHE"):
        return paths.expand(env["HF_HUB_CACHE"])
    if env.get("HF_HOME"):
        return paths.expand(env["HF_HOME"]) / "hub"
    root = env.get("XDG_CACHE_HOME") or "~/.cache"
    return paths.expand(root) / "huggingface" / "hub"
