"""Which deployments there are, heard from the supervisor as they change."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Iterable

from modeldeploy.client import Client
from modeldeploy.errors import DeploymentNotFound, ModelDeployError, NotReady
from modeldeploy.schema.control import Fleet
from modeldeploy.schema.deployment import Deployment
from modeldeploy.schema.states import State

log = logging.getLogger(__name__)

_AGAIN_SECONDS = 0.2
_PARKED = {
    State.STOPPED: "modeldeploy start {} starts it",
    State.FAILED: "modeldeploy logs {} tells why; modeldeploy start {} tries again",
}
_SOON, _LATER = 5, 30  # seconds, for Retry-After


class Known:
    """Deployments by name, and the questions that requests have."""

    def __init__(self, deployments: Iterable[Deployment] = ()) -> None:
        self._deployments = {one.name: one for one in deployments}

    def all(self) -> list[Deployment]:
        return list(self._deployments.values())

    def find(self, name: str) -> Deployment | None:
        return self._deployments.get(name)

    def named(self, name: str) -> Deployment:
        """
        Raises:
            DeploymentNotFound: it says which there are.
        """
        found = self.find(name)
        if found is None:
            raise DeploymentNotFound(
                f"there is no deployment named {name[:100]!r}", hint=self.choice()
            )
        return found

    def of_model(self, model: str) -> Deployment:
        """The deployment of that name, or else one of that model, one that runs if there is.

        Raises:
            DeploymentNotFound: it says which there are.
        """
        named = self.find(model)
        found = [named] if named else [one for one in self.all() if one.model_id == model]
        if not found:
            raise DeploymentNotFound(
                f"model: there is no model {model[:100]!r} here", hint=self.choice()
            )
        return next((one for one in found if one.state is State.RUNNING), found[0])

    def of_path(self, path: str) -> Deployment | None:
        """The deployment whose name, or model, ``path`` begins with: where there are several, by the
        longest of these, a name before a model, and one that runs."""
        found = [
            ((len(key), key == one.name, one.state is State.RUNNING), one)
            for one in self.all()
            for key in (one.name, one.model_id)
            if f"{path}/".startswith(f"{key}/")
        ]
        return max(found, key=lambda ranked: ranked[0])[1] if found else None

    def choice(self) -> str:
        """In words: what may be asked for."""
        names = ", ".join(self._deployments) or "none; modeldeploy deploy makes one"
        return f"deployments: {names}"


class Roster(Known):
    """The latest that the supervisor told; where it is gone, the deployments it left are as they
    were. Used in the event loop only."""

    def __init__(self, client: Client) -> None:
        super().__init__()
        self._client = client
        self._known = asyncio.Event()
        self._closed = threading.Event()
        self._loop = asyncio.get_running_loop()
        self.is_heard = False

    def start(self) -> None:
        """Listen, in a thread of its own, and again whenever there is a supervisor to hear."""
        threading.Thread(target=self._listen, name="roster", daemon=True).start()

    def close(self) -> None:
        self._closed.set()

    def _listen(self) -> None:
        while not self._closed.is_set():
            try:
                for fleet in self._client.watch():
                    self._in_loop(fleet)
            except ModelDeployError as error:
                log.debug("%s", error.message)
            self._in_loop(None)
            self._closed.wait(_AGAIN_SECONDS)

    def _in_loop(self, fleet: Fleet | None) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the process is ending
            self._loop.call_soon_threadsafe(self.take, fleet)

    def take(self, fleet: Fleet | None) -> None:
        """What is told; None where nobody tells any more."""
        self.is_heard = fleet is not None
        if fleet:
            self._deployments = {one.name: one for one in fleet.deployments}
            self._known.set()

    async def known(self, seconds: float) -> None:
        """Returns once there was something to hear, or when the time is over."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._known.wait(), seconds)

    # Foreign pages.

    def origins(self) -> frozenset[str]:
        """Of foreign pages that may ask one deployment or another."""
        return frozenset(o for one in self.all() for o in one.spec.allow_origins)

    def seen_by(self, origin: str | None) -> Known:
        """What a page of that origin may know of: those that let it ask. Whoever is not a foreign page
        knows of all."""
        if origin is None or origin.lower() not in self.origins():
            return self
        return Known(one for one in self.all() if origin.lower() in one.spec.allow_origins)


def open_url(deployment: Deployment) -> str:
    """Where it answers, or has clients wait until its next worker does; a port where neither is so
    refuses connections.

    Raises:
        NotReady: it does not, in its present state.
    """
    if deployment.port is not None and deployment.state not in _PARKED:
        return deployment.spec.url(deployment.port)
    raise not_ready(deployment)


def not_ready(deployment: Deployment) -> NotReady:
    name, state = deployment.name, deployment.state
    parked = state in _PARKED
    if parked:
        hint = _PARKED[state].replace("{}", name)
        told = f": {deployment.error.message}" if deployment.error else ""
    else:
        hint = f"try again after the seconds named in Retry-After; modeldeploy wait {name} waits"
        told = f", stage {deployment.stage.value}, {deployment.percent:g} %"
    error = NotReady(f"the deployment {name!r} is {state.value}{told}", hint=hint)
    error.retry_after = _LATER if parked else _SOON
    return error


def running(deployments: Iterable[Deployment]) -> list[Deployment]:
    return [one for one in deployments if one.state is State.RUNNING and one.port]
