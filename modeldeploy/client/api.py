"""The control API as methods."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec

from modeldeploy import apikeys
from modeldeploy.client.wire import (
    SILENT_SECONDS,
    Patience,
    checked,
    decoded,
    failure,
    next_line,
    path_of,
    prediction,
    silent,
    told,
    words,
)
from modeldeploy.errors import DaemonUnreachable, DeploymentNotFound, NotReady, RequestTimeout
from modeldeploy.schema.control import DaemonStatus, Fleet, LogLine, ShutdownRequest
from modeldeploy.schema.deployment import Deployment, DeployRequest, HubAccess, StartRequest
from modeldeploy.schema.events import Event
from modeldeploy.schema.keys import ApiKey, NewKey
from modeldeploy.schema.states import Desired, State
from modeldeploy.transport import UnixConnection, connection_to

T = TypeVar("T")

ANSWER_SECONDS = 30.0
_STATUS_SECONDS = 10.0
_POLL_SECONDS = 0.1
_AS_WANTED = {(State.RUNNING, Desired.RUNNING), (State.STOPPED, Desired.STOPPED)}


class Client:
    """Speaks to the supervisor whose control socket is at ``socket_path``.

    Every method raises :class:`DaemonUnreachable` when nobody answers there, and the typed error
    for whatever the supervisor refuses.
    """

    def __init__(self, socket_path: str | os.PathLike[str]) -> None:
        self.socket_path = os.fspath(socket_path)

    # Questions.

    def status(self) -> DaemonStatus:
        return self._call("GET", "/v1/status", DaemonStatus, seconds=_STATUS_SECONDS)

    def deployments(self) -> list[Deployment]:
        return self._call("GET", "/v1/deployments", list[Deployment])

    def deployment(self, name: str) -> Deployment:
        return self._call("GET", path_of(name), Deployment)

    # Commands: they record what is wanted and return at once; `wait` waits for it.

    def deploy(self, request: DeployRequest) -> Deployment:
        return self._call("POST", "/v1/deployments", Deployment, request)

    def start(
        self, name: str, hub: HubAccess | None = None, download_timeout: float | None = None
    ) -> Deployment:
        order = StartRequest(hub=hub or HubAccess(), download_timeout=download_timeout)
        return self._call("POST", path_of(name, "/start"), Deployment, order)

    def restart(
        self, name: str, hub: HubAccess | None = None, download_timeout: float | None = None
    ) -> Deployment:
        order = StartRequest(hub=hub or HubAccess(), download_timeout=download_timeout)
        return self._call("POST", path_of(name, "/restart"), Deployment, order)

    def stop(self, name: str) -> Deployment:
        return self._call("POST", path_of(name, "/stop"), Deployment)

    def remove(self, name: str) -> None:
        """Stop ``name`` and forget it; :meth:`wait_gone` waits until that is done."""
        self._send("DELETE", path_of(name))

    def keys(self, name: str) -> list[ApiKey]:
        return self._call("GET", path_of(name, "/keys"), list[ApiKey])

    def add_key(self, name: str, key: str, label: str = "") -> ApiKey:
        """Have ``key`` answered (:func:`modeldeploy.apikeys.new_key` makes one). It stays here: what
        is sent is its digest."""
        new = NewKey(digest=apikeys.digest_of(apikeys.checked(key)), label=label)
        return self._call("POST", path_of(name, "/keys"), ApiKey, new)

    def revoke_key(self, name: str, key_id: str, *, may_open: bool = False) -> ApiKey:
        """``may_open``: also the last one, after which the deployment answers everybody."""
        place = path_of(name, f"/keys/{quote(key_id, safe='')}", {"open": may_open})
        return self._call("DELETE", place, ApiKey)

    def shutdown(self, *, keep_workers: bool = False) -> None:
        """End the supervisor, and its workers too unless they are to go on serving."""
        order = ShutdownRequest(workers="keep" if keep_workers else "drain")
        self._send("POST", "/v1/shutdown", order)

    # Streams.

    def events(
        self, name: str, *, after: int = 0, follow: bool = True, timeout: float | None = None
    ) -> Iterator[Event]:
        """The events of the present run, from its start; with ``follow`` until it has settled.

        Raises:
            WaitTimeout: ``timeout`` seconds are over.
        """
        query = {"after": after, "follow": follow}
        return self._stream(path_of(name, "/events", query), Event, Patience.of(name, timeout))

    def logs(
        self,
        name: str,
        *,
        tail: int | None = None,
        since: float | None = None,
        after: str | None = None,
        follow: bool = False,
    ) -> Iterator[LogLine]:
        """The last ``tail`` lines not older than ``since`` (Unix seconds) and behind the line of the
        position ``after``, then what comes."""
        query = {"tail": tail, "since": since, "after": after, "follow": follow}
        return self._stream(path_of(name, "/logs", query), LogLine, Patience.of(name, None))

    def watch(self) -> Iterator[Fleet]:
        """All deployments, told anew at each change and every few seconds, until the supervisor ends.

        Raises:
            DaemonUnreachable: also where it has fallen silent.
        """
        with self._answering("/v1/watch", SILENT_SECONDS) as (response, _):
            while line := response.readline():
                if line.strip():
                    yield decoded(line, Fleet)

    def wait(
        self,
        name: str,
        timeout: float | None = None,
        on_event: Callable[[Event], None] = lambda event: None,
    ) -> Deployment:
        """The deployment once it is what was asked of it: running, or stopped.

        Raises:
            DeploymentFailed: it ended in FAILED; code, message and hint are the cause's.
            WaitTimeout: not within ``timeout`` seconds; the deployment goes on.
            DeploymentNotFound: it was removed.
        """
        patience, seen = Patience.of(name, timeout), 0
        while True:
            with contextlib.suppress(DaemonUnreachable):  # if it is gone, the next question tells
                for event in self.events(name, after=seen, timeout=patience.left()):
                    seen = event.seq
                    on_event(event)
            found = self.deployment(name)
            if found.state is State.FAILED and found.desired is Desired.RUNNING:
                raise failure(found)
            if (found.state, found.desired) in _AS_WANTED:
                return found
            patience.left()
            time.sleep(_POLL_SECONDS)

    def wait_gone(self, name: str) -> None:
        """Return once there is no deployment of that name any more."""
        with contextlib.suppress(DeploymentNotFound):
            while self.deployment(name):
                time.sleep(_POLL_SECONDS / 2)

    # A prediction goes to the deployment's own port, as anybody's would.

    def predict(
        self,
        deployment: Deployment,
        body: Any,
        *,
        content_type: str = "application/json",
        timeout: float | None = None,
        key: str | None = None,
    ) -> Any:
        """The decoded answer to ``POST /predict``; ``body`` is bytes, or becomes JSON; ``key`` is an
        API key of the deployment.

        Raises:
            NotReady: nobody answers on its port.
            RequestTimeout: not within ``timeout`` seconds.
            ModelDeployError: what the worker answered instead.
        """
        with self._asking(deployment, body, content_type, timeout, key) as response:
            return prediction(response.status, response.read())

    def stream(
        self,
        deployment: Deployment,
        body: dict[str, Any],
        *,
        timeout: float | None = None,
        key: str | None = None,
    ) -> Iterator[Any]:
        """The events of an answer that is wanted piece by piece, decoded.

        Raises:
            NotReady, RequestTimeout, ModelDeployError: as :meth:`predict`, on the way too.
        """
        with self._asking(deployment, body, "application/json", timeout, key) as response:
            if response.status >= 400:
                prediction(response.status, response.read())
            for line in response:
                if line.startswith(b"data:"):
                    yield told(line.removeprefix(b"data:"))

    @contextlib.contextmanager
    def _asking(
        self,
        deployment: Deployment,
        body: Any,
        content_type: str,
        timeout: float | None,
        key: str | None,
    ) -> Iterator[http.client.HTTPResponse]:
        raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
        name, url = deployment.name, deployment.spec.url(deployment.port or 0)
        connection = connection_to(url, timeout)
        try:
            headers = {"content-type": content_type, **({"x-api-key": key} if key else {})}
            connection.request("POST", "/predict", raw, headers)
            yield connection.getresponse()
        except TimeoutError as error:
            message = f"{name} did not answer within {timeout:g} seconds"
            raise RequestTimeout(message, hint=f"see modeldeploy logs {name}") from error
        except (OSError, http.client.HTTPException) as error:
            message = f"{name} does not answer on port {deployment.port} ({words(error)})"
            raise NotReady(message, hint=f"see modeldeploy logs {name}") from error
        finally:
            connection.close()

    # The wire.

    def _call(
        self,
        method: str,
        path: str,
        kind: type[T],
        body: Any = None,
        seconds: float = ANSWER_SECONDS,
    ) -> T:
        return decoded(self._send(method, path, body, seconds), kind)

    def _send(
        self, method: str, path: str, body: Any = None, seconds: float = ANSWER_SECONDS
    ) -> bytes:
        connection = UnixConnection(self.socket_path, seconds)
        raw = b"" if body is None else msgspec.json.encode(body)
        with contextlib.closing(connection), self._reaching():
            connection.request(method, path, raw, {"content-type": "application/json"})
            return checked(connection.getresponse())

    def _stream(self, path: str, kind: type[T], patience: Patience) -> Iterator[T]:
        """A JSON object a line, until the other side ends it."""
        with self._answering(path, ANSWER_SECONDS) as (response, sock):
            while line := next_line(response, sock, patience):
                yield decoded(line, kind)

    @contextlib.contextmanager
    def _answering(
        self, path: str, seconds: float
    ) -> Iterator[tuple[http.client.HTTPResponse, socket.socket]]:
        """The good answer to a GET, on its way, and the socket that it comes from."""
        connection = UnixConnection(self.socket_path, seconds)
        with contextlib.closing(connection), self._reaching():
            connection.request("GET", path)
            sock: socket.socket = connection.sock
            response = connection.getresponse()
            if response.status >= 400:
                checked(response)
            yield response, sock

    @contextlib.contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except TimeoutError as error:
            raise silent(self.socket_path) from error
        except (OSError, http.client.HTTPException) as error:
            raise DaemonUnreachable(
                f"the supervisor does not answer at {self.socket_path} ({words(error)})",
                hint="start it with modeldeploy daemon start; "
                "what it said last is in modeldeploy daemon logs",
            ) from error
