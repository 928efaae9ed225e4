"""All deployments of one instance, and the commands on them.

Commands are checked here and change intents; the actors do the rest. Everything runs in one
event loop, so two commands never interleave within one of these methods.
"""

from __future__ import annotations

import asyncio
import difflib
import ipaddress
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePath

import msgspec

from modeldeploy import __version__, certificates, machine, modelids, paths
from modeldeploy.engines import environment, interpreters
from modeldeploy.engines.base import Engine
from modeldeploy.errors import (
    ApiKeyNeeded,
    Conflict,
    DeploymentNotFound,
    InvalidSetting,
    KeyNotFound,
    NameTaken,
    PortTaken,
    UnknownTask,
)
from modeldeploy.schema import tasks
from modeldeploy.schema.control import DaemonStatus
from modeldeploy.schema.deployment import (
    Deployment,
    DeployRequest,
    HubAccess,
    Spec,
    StartRequest,
)
from modeldeploy.schema.keys import ApiKey, NewKey
from modeldeploy.schema.states import Desired, State
from modeldeploy.schema.worker import Limits, Reserved
from modeldeploy.settings import Settings
from modeldeploy.supervisor import backends
from modeldeploy.supervisor.actor import Actor
from modeldeploy.supervisor.budget import Budget
from modeldeploy.supervisor.clock import Clock
from modeldeploy.supervisor.fetchers import Fetchers
from modeldeploy.supervisor.gateway import Gateway, NoGateway, front_door
from modeldeploy.supervisor.plan import Policy
from modeldeploy.supervisor.ports import PortPool, Reservation
from modeldeploy.supervisor.record import Record, StoredKey
from modeldeploy.supervisor.reserves import reserved
from modeldeploy.supervisor.store import Store
from modeldeploy.supervisor.surroundings import Surroundings
from modeldeploy.supervisor.view import deployment_view
from modeldeploy.supervisor.watching import Watch
from modeldeploy.transport import is_loopback

_DRAIN_MARGIN_SECONDS = 10.0
_LOOKS_AT_ONCE = 64
_LET_GO_SECONDS, _LET_GO_POLL_SECONDS = 5.0, 0.02


class Manager:
    """Owns every actor of this supervisor."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        engine: Engine,
        clock: Clock,
        hub: HubAccess | None = None,
    ) -> None:
        """``hub`` is how whoever started us reaches the Hub: deployments that are resumed do too."""
        self._settings = settings
        self._store = store
        self._hub = hub or HubAccess()
        self._actors: dict[str, Actor] = {}
        self._started_at = time.time()
        self._ending = False
        self.watch = Watch(self.views)
        self.gateway: Gateway | NoGateway = NoGateway()
        self._around = Surroundings(
            paths=settings.paths,
            store=store,
            ports=PortPool(*settings.port_range),
            engine=engine,
            clock=clock,
            budget=Budget(machine.cores()),
            policy=Policy(
                start_timeout=settings.start_timeout,
                drain_timeout=settings.drain_timeout,
                heartbeat_timeout=settings.heartbeat_timeout,
            ),
            optimize_after=settings.optimize_after,
            limits=Limits(
                max_body_bytes=settings.max_body_bytes,
                max_texts=settings.max_texts,
                max_queue=settings.max_queue,
                request_timeout=settings.request_timeout,
                generation_timeout=settings.generation_timeout,
            ),
            fetchers=Fetchers(
                settings.environment, settings.paths.supervisor_log, self._hub.endpoint
            ),
            log_max_bytes=settings.log_max_bytes,
            log_files=settings.log_files,
            reserved=self._reserved,
            ports_in_use=self._ports_in_use,
            reserve=self._reserve,
            is_shared=self._is_shared,
            watch=self.watch,
            forget=self._forget,
        )

    def resume(self) -> None:
        """Take up every deployment that the store knows: adopt what lives, start what should."""
        for record in self._store.records():
            hub = msgspec.structs.replace(self._hub, endpoint=self._hub.endpoint or record.endpoint)
            self._actors[record.name] = Actor(record, self._around, hub)
        actors = list(self._actors.values())
        with ThreadPoolExecutor(_LOOKS_AT_ONCE) as pool:  # one that hangs holds up no other
            for actor, found in zip(actors, list(pool.map(Actor.look, actors)), strict=True):
                actor.resume(found)

    def open_gateway(self) -> None:
        """Start the front door, or end the one of an earlier supervisor where none is wanted. After
        :meth:`resume`: deployments have their ports first."""
        self.gateway = front_door(self._settings, self._ports_in_use, self._around.clock)

    def _reserved(self, name: str) -> Reserved:
        """What all deployments but that one may still take of memory."""
        return reserved(actor for other, actor in self._actors.items() if other != name)

    def _ports_in_use(self) -> set[int]:
        """Ports that a deployment holds or remembers."""
        return {actor.record.port for actor in self._actors.values() if actor.record.port}

    def _reserve(self, port: int, host: str) -> Reservation:
        """
        Raises:
            PortTaken: it says by whom, where it is one of ours.
        """
        self._refuse_our_own(port)
        return self._around.ports.at(host).reserve(port)

    def _refuse_our_own(self, port: int, but: str | None = None) -> None:
        if port == self.gateway.port:
            raise PortTaken(
                f"port {port} is the gateway's",
                hint="choose another with --port, or move it with MODELDEPLOY_GATEWAY_PORT "
                "and modeldeploy daemon restart",
            )
        for name, actor in self._actors.items():
            if name != but and actor.reservation and actor.reservation.port == port:
                raise PortTaken(
                    f"port {port} is that of the deployment {name!r}",
                    hint="choose another with --port, or leave it out to take one from the pool",
                )

    def _is_shared(self, spec: Spec) -> bool:
        """Whether several deployments stand to download the model of ``spec`` to the same place."""
        wanted = (spec.model_id, spec.cache_dir)
        specs = [a.record.spec for a in self._actors.values() if a.record.model is None]
        return sum((one.model_id, one.cache_dir) == wanted for one in specs) > 1

    def _forget(self, name: str) -> None:
        del self._actors[name]
        self.watch.tell_now()
        for number in ("", *(f".{n}" for n in range(1, self._settings.log_files + 1))):
            log_file = self._around.paths.deployment_log(name)
            log_file.with_name(log_file.name + number).unlink(missing_ok=True)

    # Commands.

    async def make_room(self, request: DeployRequest) -> None:
        """Returns once there is none of its name, where the request is to replace it. What
        :meth:`deploy` would refuse costs nothing, unless a stranger has its port.

        Raises:
            PortTaken, InvalidModelId, UnknownTask, InvalidSetting, ApiKeyNeeded, InvalidCertificate.
        """
        if not request.replace or request.name not in self._actors:
            return
        self._check(request)
        if request.spec.port:
            self._refuse_our_own(request.spec.port, but=request.name)
        self.remove(request.name)
        async for _ in self.watch.follow():
            if request.name not in self._actors:
                return

    def deploy(self, request: DeployRequest) -> Actor:
        """Accept a new deployment: checked, named, its port reserved, its record on disk.

        Raises:
            NameTaken, PortTaken, NoFreePort, InvalidModelId, UnknownTask, InvalidSetting,
            ApiKeyNeeded, InvalidCertificate: nothing
                was changed.
        """
        spec = self._check(request)
        name = self._new_name(request)
        record = Record(
            name=name,
            spec=spec,
            desired=Desired.RUNNING,
            state=State.PENDING,
            created_at=time.time(),
            endpoint=_without_secrets(request.hub.endpoint),
            keys=_stored(request.keys),
        )
        actor = Actor(record, self._around, request.hub)
        actor.accept()
        self._actors[name] = actor
        actor.kick()
        return actor

    def _check(self, request: DeployRequest) -> Spec:
        self._refuse_if_ending()
        spec = _checked(request.spec)
        if not request.keys:
            _refuse_without_keys(spec.host)
        return spec

    def _new_name(self, request: DeployRequest) -> str:
        if request.name is None:
            return self._unused(default_name(request.spec.model_id))
        name = paths.check_name(request.name)
        if name in self._actors:
            state = self._actors[name].record.state.value
            raise NameTaken(
                f"there is a deployment named {name!r} already ({state})",
                hint=f"choose another --name, or make room: modeldeploy rm -f {name}",
            )
        return name

    def _unused(self, base: str) -> str:
        candidate, number = base, 2
        while candidate in self._actors:
            candidate = f"{base[: 62 - len(str(number))]}-{number}"
            number += 1
        return candidate

    def actor(self, name: str) -> Actor:
        """
        Raises:
            DeploymentNotFound: there is none of that name.
        """
        found = self._actors.get(name)
        if found is None:
            raise DeploymentNotFound(
                f"there is no deployment named {name!r}", hint="modeldeploy ls shows what there is"
            )
        return found

    def _standing(self, name: str) -> Actor:
        """
        Raises:
            DeploymentNotFound; Conflict: it is being removed, and whoever did that waits for it.
        """
        actor = self.actor(name)
        if actor.record.desired is Desired.REMOVED:
            raise Conflict(
                f"{name} is being removed", hint=f"deploy it again when modeldeploy rm {name} ended"
            )
        return actor

    def start(self, name: str, order: StartRequest) -> Actor:
        self._refuse_if_ending()
        actor = self._standing(name)
        actor.aim(Desired.RUNNING, order=order)
        return actor

    def restart(self, name: str, order: StartRequest) -> Actor:
        self._refuse_if_ending()
        actor = self._standing(name)
        actor.aim(Desired.RUNNING, again=True, order=order)
        return actor

    def stop(self, name: str) -> Actor:
        actor = self._standing(name)
        actor.aim(Desired.STOPPED)
        return actor

    def remove(self, name: str) -> Actor:
        actor = self.actor(name)
        actor.aim(Desired.REMOVED)
        return actor

    async def add_key(self, name: str, new: NewKey) -> ApiKey:
        """
        Raises:
            Conflict: it is there.
        """
        actor, keys = self.actor(name), _stored((new,))
        known = actor.record.keys
        if any(one.digest == new.digest for one in known):
            raise Conflict(f"{name} has that key already", hint=f"modeldeploy keys ls {name}")
        return keys[0].shown(in_force=await actor.keep_keys((*known, *keys)))

    async def revoke_key(self, name: str, key_id: str, *, may_open: bool) -> ApiKey:
        """``may_open``: also the last one, after which the deployment answers everybody.

        Raises:
            KeyNotFound; Conflict: it is the last one. ApiKeyNeeded: and others reach it.
        """
        actor = self.actor(name)
        gone = next((one for one in actor.record.keys if one.id == key_id), None)
        if gone is None:
            raise KeyNotFound(
                f"{name} has no key {key_id[:80]!r}", hint=f"modeldeploy keys ls {name}"
            )
        left = tuple(one for one in actor.record.keys if one.id != key_id)
        if not left:
            _refuse_without_keys(actor.record.spec.host)
        if not left and not may_open:
            raise Conflict(
                f"that is the last key of {name}: without one it would answer everybody",
                hint=f"first modeldeploy keys add {name}; or revoke it with --open",
            )
        return gone.shown(in_force=await actor.keep_keys(left))

    def _refuse_if_ending(self) -> None:
        if self._ending:
            raise Conflict("the supervisor is ending", hint="try again in a moment")

    def warmed(self) -> None:
        """Workers can be started without delay. Look at every deployment again, and have a fetcher ready too."""
        for actor in list(self._actors.values()):
            actor.kick()
        self._around.fetchers.keep_one()

    # Views.

    def live_replicas(self) -> set[str]:
        return {actor.worker.record.id for actor in self._actors.values() if actor.worker}

    def log_file(self, actor: Actor) -> Path:
        return self._around.paths.deployment_log(actor.record.name)

    def views(self) -> list[Deployment]:
        ordered = sorted(self._actors.values(), key=lambda actor: actor.record.created_at)
        return [deployment_view(actor) for actor in ordered]

    def status(self, pid: int) -> DaemonStatus:
        states = [actor.record.state for actor in self._actors.values()]
        low, high = self._settings.port_range
        return DaemonStatus(
            pid=pid,
            version=__version__,
            started_at=self._started_at,
            home=str(self._around.paths.home or self._around.paths.state.parent),
            socket=str(self._around.paths.control_socket),
            deployments=len(states),
            running=states.count(State.RUNNING),
            ports=f"{low}-{high}",
            template=self._around.engine.warmth,
            gateway=self.gateway.status(),
            set_aside=[str(file) for file in self._store.kept],
        )

    # The end.

    async def let_go(self) -> None:
        """End supervising and leave the workers serving. Where one is just being replaced the next is
        waited for: nobody else would have the queue of its clients."""
        self._ending = True
        for _ in range(round(_LET_GO_SECONDS / _LET_GO_POLL_SECONDS)):
            if not any(actor.holds_a_queue for actor in self._actors.values()):
                break
            await asyncio.sleep(_LET_GO_POLL_SECONDS)
        self.gateway.let_go()
        for actor in self._actors.values():
            actor.let_go()
        await self._around.fetchers.close()
        self.watch.close()

    async def drain(self) -> None:
        """End every worker after it answered what it had; what is wanted stays recorded."""
        self._ending = True
        actors = list(self._actors.values())
        retiring = (actor.retire(_DRAIN_MARGIN_SECONDS) for actor in actors)
        await asyncio.gather(self.gateway.end(), self._around.fetchers.close(), *retiring)
        self.watch.close()


def _checked(spec: Spec) -> Spec:
    """The first look at a model id, a task and a backend, before anything is started for them."""
    modelids.parse(spec.model_id, spec.revision)
    backends.check(spec)
    environment.check(spec.env)
    if spec.python:
        spec = msgspec.structs.replace(spec, python=interpreters.settled(spec.python))
    spec = msgspec.structs.replace(spec, host=_address(spec.host))
    _check_tls(spec.ssl_certfile, spec.ssl_keyfile)
    if spec.task is not None and tasks.find(spec.task) is None:
        served = sorted(name for name in tasks.TASKS if name != "echo")
        close = difflib.get_close_matches(spec.task, [*served, *tasks.ALIASES], n=1)
        meant = f"did you mean {close[0]}? " if close else ""
        raise UnknownTask(
            f"there is no task {spec.task[:80]!r} here",
            hint=f"{meant}modeldeploy serves {', '.join(served)}",
        )
    return spec


def _address(host: str) -> str:
    try:
        return str(ipaddress.ip_address("127.0.0.1" if host == "localhost" else host))
    except ValueError as error:
        raise InvalidSetting(
            f"--host: {host!r} is no address",
            hint="127.0.0.1, an address of this machine, or 0.0.0.0 for all of them",
        ) from error


def _refuse_without_keys(host: str) -> None:
    if not is_loopback(host):
        raise ApiKeyNeeded(
            f"other machines reach what listens on {host}: a deployment there needs an API key",
            hint="deploy it with --api-key new, or without --host",
        )


def _check_tls(certfile: str | None, keyfile: str | None) -> None:
    if certfile and keyfile:
        certificates.examine(certfile, keyfile)
    elif certfile or keyfile:
        raise InvalidSetting(
            "--ssl-certfile and --ssl-keyfile go together", hint="give both, or none"
        )


def _stored(keys: tuple[NewKey, ...]) -> tuple[StoredKey, ...]:
    now = time.time()
    unique = {one.digest: one for one in keys}.values()
    return tuple(StoredKey(digest=one.digest, label=one.label, created_at=now) for one in unique)


def _without_secrets(endpoint: str | None) -> str | None:
    """The Hub's address as it may be stored: one with a password in it is not."""
    return None if endpoint is None or "@" in endpoint else endpoint


def default_name(model_id: str) -> str:
    """A name for a deployment of this model: the id's last segment, made to fit."""
    last = PurePath(model_id.partition("@")[0]).name.lower()
    last = last.rpartition(":")[2].removesuffix(".gguf")
    fitted = re.sub(r"[^a-z0-9-]+", "-", last).strip("-")[:63].strip("-")
    return fitted or "model"
