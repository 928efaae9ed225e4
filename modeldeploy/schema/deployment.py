"""Deployments: what is asked for (the intent) and what is shown (the view)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from modeldeploy.schema.computing import Backend, Batching, Optimize
from modeldeploy.schema.keys import NewKey
from modeldeploy.schema.problem import Problem
from modeldeploy.schema.stages import Stage
from modeldeploy.schema.states import Desired, State
from modeldeploy.schema.threads import Threads

NAME_PATTERN = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z"
DEVICE_PATTERN = r"^(auto|cpu|cuda|cuda:[0-9]{1,2}|mps)\Z"
ORIGIN_PATTERN = r"^[a-z][a-z0-9+.-]*://[^\s/?#@,*]+\Z"
VARIABLE_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]*\Z"
HOST_PATTERN = r"^([a-z0-9_.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?\Z"

ModelType = Literal["nlp", "vision", "audio", "multimodal"]
DType = Literal["auto", "float32", "float16", "bfloat16"]
Origin = Annotated[
    str, Meta(pattern=ORIGIN_PATTERN, max_length=300, description="scheme://host[:port]")
]
Host = Annotated[str, Meta(pattern=HOST_PATTERN, max_length=300, description="host[:port]")]
ThreadCount = Annotated[int, Meta(ge=1, le=1024, description="CPU threads to compute with.")]
MemoryBytes = Annotated[int, Meta(ge=1_000_000, description="Bytes that its worker may take.")]
FilePath = Annotated[str, Meta(min_length=1, max_length=4096)]
Variable = Annotated[str, Meta(pattern=VARIABLE_PATTERN, max_length=255)]
VariableValue = Annotated[str, Meta(pattern=r"^[^\x00]*\Z", max_length=32_768)]
Environment = Annotated[
    dict[Variable, VariableValue],
    Meta(description="Environment variables of its worker. They are shown: no secrets."),
]
Interpreter = Annotated[
    str,
    Meta(
        pattern=r"^[^\x00]+\Z",
        max_length=4096,
        description="The Python that its worker runs in, or its virtual environment, by its path. It has "
        "this modeldeploy installed.",
    ),
]
Name = Annotated[str, Meta(pattern=NAME_PATTERN, description="The deployment's name.")]


class Spec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the user asked to deploy. Stored as it was given, secrets never among it."""

    model_id: Annotated[str, Meta(min_length=1, max_length=4096)]
    revision: Annotated[str, Meta(min_length=1, max_length=255)] | None = None
    task: str | None = None
    model_type: ModelType | None = None
    device: Annotated[str, Meta(pattern=DEVICE_PATTERN)] = "auto"
    dtype: DType = "auto"
    port: Annotated[int, Meta(ge=1, le=65535)] | None = None
    host: Annotated[str, Meta(max_length=45, description="The address it binds.")] = "127.0.0.1"
    ssl_certfile: FilePath | None = None
    ssl_keyfile: FilePath | None = None
    cache_dir: str
    trust_remote_code: bool = False
    allow_pickle: bool = False
    force_gpu: bool = False
    download_timeout: Annotated[float, Meta(gt=0, description="Seconds.")] = 1800.0
    allow_origins: tuple[Origin, ...] = ()
    allow_media_urls: tuple[Host, ...] = ()
    optimize: Optimize = "equal"
    backend: Backend = "auto"
    batching: Batching = Batching()
    threads: ThreadCount | None = None
    memory: MemoryBytes | None = None
    python: Interpreter | None = None
    env: Environment = {}

    @property
    def runs_apart(self) -> bool:
        """Whether it needs an interpreter that is started for it."""
        return bool(self.python or self.env)

    def url(self, port: int) -> str:
        """Where it is asked from this machine."""
        scheme = "https" if self.ssl_certfile else "http"
        host = _NEAR.get(self.host, self.host)
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


_NEAR = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - recognised here, not bound


class HubAccess(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the Hub is and who asks. Kept in memory only."""

    endpoint: str | None = None
    token: str | None = None
    offline: bool = False

    def __repr__(self) -> str:
        return f"HubAccess(endpoint={self.endpoint!r}, token={'***' if self.token else None})"


class DeployRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``POST /v1/deployments``. Without a name the model's last segment is made unique. With
    ``replace`` the deployment of that name, if there is one, is removed first, unless the request
    is refused."""

    spec: Spec
    name: Name | None = None
    replace: bool = False
    hub: HubAccess = field(default_factory=HubAccess)
    keys: tuple[NewKey, ...] = ()


class StartRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``POST /v1/deployments/{name}/start`` and ``.../restart``; ``download_timeout`` (seconds)
    is from now on this deployment's."""

    hub: HubAccess = field(default_factory=HubAccess)
    download_timeout: Annotated[float, Meta(gt=0)] | None = None


class Replica(Struct, frozen=True, kw_only=True):
    """One worker process of a deployment; ``runs`` says how its model computes, ``reserved_bytes`` what
    keys and values may take beside the memory that it has."""

    id: str
    pid: int
    started_at: float
    ready: bool
    memory_bytes: int
    requests: int
    reserved_bytes: int = 0
    threads: Threads | None = None
    runs: dict[str, str] = {}


class Deployment(Struct, frozen=True, kw_only=True):
    """A deployment as ``ls``, ``inspect`` and ``deploy --json`` show it. Times are Unix seconds.
    ``keys`` is how many API keys it has; without any it answers everybody."""

    name: str
    model_id: str
    revision: str | None
    task: str | None
    model_type: ModelType | None
    state: State
    desired: Desired
    port: int | None
    url: str | None
    device: str
    dtype: str
    created_at: float
    ready_at: float | None
    stage: Stage
    percent: float
    message: str
    restarts: int
    requests: int
    memory_bytes: int
    error: Problem | None
    replicas: list[Replica]
    spec: Spec
    snapshot: str | None
    keys: int = 0
    endpoints: dict[str, str] = {}
    example: Any = None
