"""The front door as its supervisor sees it: a process of its own on a port that stays open.

Supervisor and gateway hold the same listening socket, so that connections wait where it dies, or
hangs and is killed, and is started again. Where the supervisor itself dies the gateway goes on, as
workers do; the next one asks it for that socket, and starts its own; which tells the old one to answer
what it has, however long that takes, and to end.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import msgspec
from msgspec import Struct

from modeldeploy import paths
from modeldeploy.engines.environment import without_secrets
from modeldeploy.errors import PortTaken
from modeldeploy.schema.control import GatewayStatus
from modeldeploy.settings import Settings
from modeldeploy.supervisor import links, processes
from modeldeploy.supervisor.clock import Clock
from modeldeploy.supervisor.ports import PortPool, Reservation
from modeldeploy.supervisor.processes import Identity
from modeldeploy.supervisor.pulse import Pulse
from modeldeploy.transport import LISTEN_FD, PULSE_FD

log = logging.getLogger(__name__)

_PORTS_TRIED = 100
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 30.0
_STEADY_SECONDS = 60.0  # it has lived so long: what comes then is no series
_WAITED_FOR = 3  # deaths in a row while connections wait; then they are refused meanwhile
_DRAIN_MARGIN_SECONDS = 5.0
_FIRST_BEAT_SECONDS = 60.0
_LEAST_PATIENCE_SECONDS = 3.0  # with one that beats each second

InUse = Callable[[], set[int]]


class _Record(Struct, frozen=True, kw_only=True):
    """Enough to find a gateway again: who it is, where it was wanted and where it is; and those that
    it replaced, which may still answer what they had."""

    identity: Identity
    wanted: int
    port: int
    replaced: tuple[Identity, ...] = ()


class NoGateway:
    """Where none is wanted."""

    port: int | None = None

    def status(self) -> GatewayStatus:
        return GatewayStatus()

    def let_go(self) -> None:
        """There is nothing to leave."""

    async def end(self) -> None:
        """There is nothing to end."""


def front_door(settings: Settings, in_use: InUse, clock: Clock) -> Gateway | NoGateway:
    """Called in the loop. ``in_use`` are the ports that deployments hold or remember."""
    former = _former(settings.paths)
    if settings.gateway:
        return Gateway(settings, in_use, clock, former)
    if former:
        processes.kill_group(former.identity, signal.SIGTERM)
        _kill_later(former.identity, settings.drain_timeout)
        for one in former.replaced:
            _kill_later(one, settings.handover_timeout)
    return NoGateway()


def _former(where: paths.Paths) -> _Record | None:
    """The live gateway of an earlier supervisor."""
    record = _recorded(where)
    return record if record and processes.is_alive(record.identity) else None


def _recorded(where: paths.Paths) -> _Record | None:
    with contextlib.suppress(OSError, msgspec.DecodeError):
        if not where.gateway_record.is_file():
            return None
        return msgspec.json.decode(where.gateway_record.read_bytes(), type=_Record)
    return None


def _kill_later(identity: Identity, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    loop.call_later(seconds + _DRAIN_MARGIN_SECONDS, processes.kill_group, identity)


class Gateway:
    """Started at once, and again when it dies; ``port`` is None where none could be had."""

    def __init__(
        self, settings: Settings, in_use: InUse, clock: Clock, former: _Record | None
    ) -> None:
        self._settings = settings
        self._paths = settings.paths
        self._pool = PortPool(*settings.port_range)
        self._in_use = in_use
        self._clock = clock
        self._notice = ""
        self._restarts = 0
        self._reservation: Reservation | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._identity: Identity | None = None
        self._replaced: tuple[Identity, ...] = ()
        if former is None:
            self._reservation = self._reserve()
        self.port = former.port if former else self._reservation and self._reservation.port
        self._former = former
        self._task = asyncio.ensure_future(self._live())
        self._task.add_done_callback(_tell_of_bug)

    def status(self) -> GatewayStatus:
        url = f"http://{self._pool.host}:{self.port}" if self.port else None
        pid = self._identity.pid if self._identity else None
        return GatewayStatus(url=url, notice=self._notice, pid=pid, restarts=self._restarts)

    # The port.

    def _reserve(self) -> Reservation | None:
        """Where it is wanted, or the next port that is free and no deployment's."""
        wanted = self._settings.gateway_port
        in_use, pool = self._in_use(), range(self._pool.low, self._pool.high + 1)
        why = f"port {wanted} is that of a deployment"
        for port in range(wanted, min(wanted + _PORTS_TRIED, 65535) + 1):
            if port in in_use or (port != wanted and port in pool):
                continue
            try:
                found = self._pool.reserve(port)
            except PortTaken as error:
                why = error.message if port == wanted else why
                continue
            if port != wanted:
                self._tell(f"{why}; the gateway is on {port} instead")
            return found
        self._tell(f"{why}, and so are the next {_PORTS_TRIED}: there is no gateway")
        return None

    def _tell(self, notice: str) -> None:
        self._notice = notice
        log.warning("%s (MODELDEPLOY_GATEWAY_PORT chooses another)", notice)

    async def _take_over(self, former: _Record) -> Reservation | None:
        """The port of an earlier supervisor's gateway, which then ends."""
        self._replaced = tuple(filter(processes.is_alive, former.replaced))
        for one in self._replaced:
            _kill_later(one, self._settings.handover_timeout)
        listener = await asyncio.to_thread(links.ask_listener, self._paths.gateway_handover)
        if listener is None:  # it does not hear: nothing can be asked of it
            processes.kill_group(former.identity)
            await _until_ended(former.identity, _DRAIN_MARGIN_SECONDS)
            return self._reserve()
        self._replaced = (*self._replaced, former.identity)
        _kill_later(former.identity, self._settings.handover_timeout)
        if former.wanted != self._settings.gateway_port:
            listener.close()
            return self._reserve()
        if former.port != former.wanted:
            self._notice = f"port {former.wanted} was taken; the gateway is on {former.port}"
        return Reservation(self._pool.host, former.port, listener)

    # The process.

    async def _live(self) -> None:
        if self._former:
            self._reservation = await self._take_over(self._former)
            self._former = None
            self.port = self._reservation and self._reservation.port
        deaths = 0
        while self._reservation:
            begun = time.monotonic()
            how = await self._run(self._reservation)
            deaths = 1 if time.monotonic() - begun > _STEADY_SECONDS else deaths + 1
            pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** (deaths - 1))
            log.error("the gateway %s; it is started again in %g s", how, pause)
            if deaths > _WAITED_FOR:
                with contextlib.suppress(OSError):  # then connections wait on
                    self._reservation.refuse()
            await asyncio.sleep(pause)
            self._restarts += 1

    async def _run(self, reservation: Reservation) -> str:
        """Start one and wait; how it ended, in words."""
        with contextlib.ExitStack() as opened:
            try:
                pulse = opened.enter_context(contextlib.closing(Pulse(self._clock)))
                self._process = self._start(reservation, pulse.theirs)
            except OSError as error:
                return f"could not be started ({error})"
            return await self._watch(self._process, reservation, pulse)

    async def _watch(
        self, process: subprocess.Popen[bytes], reservation: Reservation, pulse: Pulse
    ) -> str:
        self._identity = processes.identify(process.pid) or Identity(process.pid, -1.0, "", "")
        self._remember(self._identity, reservation.port)
        where = f"http://{reservation.host}:{reservation.port}"
        log.info("the gateway is at %s, pid %d", where, process.pid)
        ended = asyncio.ensure_future(_until_ended(self._identity))
        patience = max(self._settings.heartbeat_timeout, _LEAST_PATIENCE_SECONDS)
        hangs = asyncio.ensure_future(pulse.stops(_FIRST_BEAT_SECONDS, patience))
        try:
            await asyncio.wait({ended, hangs}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended.cancel()
            hangs.cancel()
        hung = not ended.done()
        processes.kill_group(self._identity)  # what it started must not outlive it
        self._identity = None
        how = processes.describe_exit(await asyncio.to_thread(process.wait))
        return f"did not answer its supervisor and {how}" if hung else how

    def _start(self, reservation: Reservation, pulse: int) -> subprocess.Popen[bytes]:
        listener = reservation.listen()
        env = without_secrets(self._settings.environment)
        env[LISTEN_FD] = str(listener.fileno())
        env[PULSE_FD] = str(pulse)
        if self._paths.home:
            env["MODELDEPLOY_HOME"] = str(self._paths.home)
        with paths.appending(self._paths.gateway_log) as output:
            return subprocess.Popen(
                [sys.executable, "-m", "modeldeploy.gateway"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=env,
                cwd="/",
                pass_fds=[listener.fileno(), pulse],
                start_new_session=True,
            )

    def _remember(self, identity: Identity, port: int) -> None:
        record = _Record(
            identity=identity,
            wanted=self._settings.gateway_port,
            port=port,
            replaced=self._replaced,
        )
        try:
            with open(self._paths.gateway_record, "wb", opener=paths.private_open) as file:
                file.write(msgspec.json.encode(record))
        except OSError as error:  # it serves all the same; the next supervisor will not find it
            log.error("%s cannot be written: %s", self._paths.gateway_record, error)

    # The end.

    def let_go(self) -> None:
        """Leave it serving, for the next supervisor; one that the next cannot find is to answer what it
        has and end."""
        self._task.cancel()
        if self._identity and self._is_lost(self._identity):
            processes.kill_group(self._identity, signal.SIGTERM)
        self._release()

    def _is_lost(self, identity: Identity) -> bool:
        """Whether the home was removed, and no record in the one there is now tells of it."""
        if not self._paths.gateway_record.exists():
            return True
        record = _recorded(self._paths)
        return record is not None and identity not in (record.identity, *record.replaced)

    async def end(self) -> None:
        """End it after it answered what it had."""
        self._task.cancel()
        if self._reservation:
            self._reservation.shut()
        self._release()
        await asyncio.gather(*map(self._end, self._all()))
        if self._process:
            self._process.poll()
        for file in (self._paths.gateway_record, self._paths.gateway_handover):
            file.unlink(missing_ok=True)

    def _all(self) -> tuple[Identity, ...]:
        if self._former:
            return (*self._former.replaced, self._former.identity)
        replaced = tuple(filter(processes.is_alive, self._replaced))
        return (*replaced, self._identity) if self._identity else replaced

    async def _end(self, identity: Identity) -> None:
        processes.kill_group(identity, signal.SIGTERM)
        await _until_ended(identity, self._settings.drain_timeout)
        processes.kill_group(identity)
        await _until_ended(identity, _DRAIN_MARGIN_SECONDS)

    def _release(self) -> None:
        if self._reservation:
            self._reservation.close()
            self._reservation = None


def _tell_of_bug(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        log.error("nobody keeps the gateway any more", exc_info=error)


async def _until_ended(identity: Identity, seconds: float | None = None) -> None:
    """Until all of it is gone, its sockets too, or the time is over."""
    ended = asyncio.Event()
    stop_watching = processes.watch(identity, ended.set)
    try:
        await asyncio.wait_for(ended.wait(), seconds)
    except asyncio.TimeoutError:
        log.warning("the gateway, pid %d, has not ended within %g s", identity.pid, seconds)
    finally:
        stop_watching()
