"""One deployment: its record, what is observed of it, and the loop that makes one follow the
other. Everything here runs in the supervisor's event loop; nothing blocks it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from msgspec.structs import replace as replace_struct

from modeldeploy.engines.base import NotStarted
from modeldeploy.errors import ModelDeployError, PortTaken
from modeldeploy.schema.deployment import HubAccess, StartRequest
from modeldeploy.schema.fetch import FetchProgress
from modeldeploy.schema.problem import Problem
from modeldeploy.schema.stages import Stage
from modeldeploy.schema.states import SETTLED, Desired, State
from modeldeploy.schema.worker import WorkerReport, WorkerSpec
from modeldeploy.supervisor.announcing import announce
from modeldeploy.supervisor.berth import Berth
from modeldeploy.supervisor.events import EventLog
from modeldeploy.supervisor.keyring import Keyring
from modeldeploy.supervisor.obtaining import Obtaining
from modeldeploy.supervisor.plan import Action, FetchSeen, Seen, plan
from modeldeploy.supervisor.ports import Reservation
from modeldeploy.supervisor.record import Record, StoredKey
from modeldeploy.supervisor.smoke import smoke
from modeldeploy.supervisor.store import StateNotWritten
from modeldeploy.supervisor.surroundings import Surroundings, worker_spec
from modeldeploy.supervisor.workers import Found, Worker, look_for

log = logging.getLogger(__name__)

_RETRY_WRITE_SECONDS = 1.0
# What the machine may have again: disk, memory, processes and threads, open files.
_SHORT = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EAGAIN, errno.EMFILE, errno.ENFILE}
)
_RETIRE_POLL_SECONDS = 0.02
_PORT_POLL_SECONDS = 0.1


class Actor:
    """Reconciles one deployment: plan, save, act, and again at every observation."""

    def __init__(self, record: Record, around: Surroundings, hub: HubAccess) -> None:
        self.record = record
        self.hub = hub
        self.events = EventLog()
        self.worker: Worker | None = None
        self._around = around
        self._berth = Berth(around, record.spec)
        self._keyring = Keyring(lambda: self.record.keys)
        self._obtaining = Obtaining(around, self._fetch_progressed, self.kick)
        self._starting: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._parked = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._acts: dict[Action, Callable[[], None]] = {
            Action.FETCH: self._start_fetch,
            Action.CANCEL_FETCH: self._obtaining.give_up,
            Action.DISCARD: self._discard,
            Action.RESERVE: self._reserve,
            Action.START: self._start_worker,
            Action.DRAIN: self._drain,
            Action.KILL: self._kill,
            Action.SMOKE: self._smoke,
            Action.HOLD: self._berth.hold,
            Action.REFUSE: self._refuse,
            Action.RELEASE: self._give_up_port,
        }

    def accept(self) -> None:
        """Reserve the port and store the first record of a new deployment.

        Raises:
            PortTaken, NoFreePort, StateNotWritten: nothing is left behind.
        """
        port = self._berth.reserve(self.record).port
        try:
            self._save(replace_struct(self.record, port=port))
        except StateNotWritten:
            self._berth.release()
            raise

    # Commands: they change the intent and let the loop do the rest.

    def aim(
        self, desired: Desired, *, again: bool = False, order: StartRequest | None = None
    ) -> None:
        """Record what the user wants. With ``again`` a fresh run is begun in any case.

        Raises:
            StateNotWritten: nothing was changed.
        """
        record = replace_struct(self.record, desired=desired)
        if order and order.download_timeout:
            spec = replace_struct(record.spec, download_timeout=order.download_timeout)
            record = replace_struct(record, spec=spec)
        if desired is Desired.RUNNING and (again or record.state in {State.STOPPED, State.FAILED}):
            self.events.begin()
            record = record.anew()
        self._save(record)
        if order:
            self.hub = order.hub
        self.kick()

    async def keep_keys(self, keys: tuple[StoredKey, ...]) -> bool:
        """Have these API keys answered and no others; whether the worker, if there is one, knows.

        Raises:
            StateNotWritten: nothing was changed.
        """
        self._save(replace_struct(self.record, keys=keys))
        worker = self.worker
        if worker is None or worker.seen.ended:
            return True
        return await self._keyring.order(self._around.paths.worker_socket(worker.record.id))

    def look(self) -> Found | None:
        """The worker that an earlier supervisor left. Blocks, so from a thread of its own."""
        replica = self.record.replica
        return look_for(replica, self._around.paths) if replica else None

    def resume(self, found: Found | None) -> None:
        """Take up what an earlier supervisor left: adopt the worker that was found, or begin a fresh
        run. One that speaks as another version does is replaced when it has answered what it has."""
        self.record = record = self.record.taken_up(self._around.clock())
        replica = record.replica
        if found and replica:
            self.worker = Worker.adopt(
                replica,
                found,
                self._around.paths,
                record.name,
                self._worker_changed,
                record.spec.memory,
                self._around.clock,
            )
            if record.port:
                self._readopt(record.port, found)
            if not found.report:
                log.warning("%s: its worker is of another version", record.name)
                self.events.begin()
                self.record = record.anew()
        elif record.desired is Desired.RUNNING and record.state is not State.FAILED:
            self.record = replace_struct(
                record, state=State.PENDING, run=record.run + 1, replica=None
            )
        self._announce()
        self.kick()

    def _readopt(self, port: int, found: Found) -> None:
        try:
            self._berth.readopt(port, found.listener)
        except PortTaken as error:  # serving matters more than the reservation beside it
            log.warning("%s: %s", self.record.name, error.message)

    def park(self) -> None:
        """Stop reconciling: the supervisor is ending."""
        self._parked = True
        if self._timer:
            self._timer.cancel()
        self._obtaining.park()
        self._stop_starting()
        self.events.close()

    @property
    def holds_a_queue(self) -> bool:
        """Whether clients wait here, and nowhere else, for a worker that is to come."""
        worker = self.worker
        is_on_record = worker is not None and worker.record == self.record.replica
        has_next = worker and worker.seen.ended is None and worker.seen.run == self.record.run
        is_to_come = (
            self.record.desired is Desired.RUNNING and self.record.state is not State.FAILED
        )
        return self._berth.has_a_queue and is_to_come and not (has_next and is_on_record)

    @property
    def is_loading(self) -> bool:
        """Whether a worker is being started, or has not said yet that its model is there."""
        worker = self.worker
        if worker is None or worker.seen.ended:
            return self._starting is not None
        return worker.report is None or worker.report.phase == "loading"

    def let_go(self) -> None:
        """Leave the worker serving, for the next supervisor."""
        self.park()
        if self.worker:
            self.worker.let_go()
        self._give_up_port()

    async def retire(self, margin: float) -> None:
        """End the worker after it answered what it had, then let go. The intent stays."""
        self.park()
        worker = self.worker
        if worker and not worker.seen.ended:
            self._refuse()
            worker.drain()
            clock = self._around.clock
            deadline = clock() + self._around.policy.drain_timeout
            while not worker.seen.ended and clock() < deadline + margin:
                if clock() >= deadline and not worker.seen.killed:
                    worker.kill()
                await asyncio.sleep(_RETIRE_POLL_SECONDS)
        self._give_up_port()

    # The loop.

    def kick(self) -> None:
        """Look again, now."""
        if self._parked:
            return
        if self._timer:
            self._timer.cancel()
            self._timer = None
        self._try(self._reconcile)

    def _try(self, step: Callable[[], None]) -> None:
        """What the disk refuses is tried again."""
        try:
            step()
        except StateNotWritten as error:
            log.error("%s: %s", self.record.name, error.message)
            self._wake_in(_RETRY_WRITE_SECONDS)

    def _reconcile(self) -> None:
        self._remember_worker()  # in case the disk refused when it was started
        while True:
            now = self._around.clock()
            step = plan(self.record, self._seen(), now, self._around.policy)
            changed = step.record != self.record
            if changed:
                self._become(step.record)
            if step.cause and self.worker:
                self.worker.cause = step.cause
            for action in step.actions:
                if action is Action.FORGET:
                    self._forget()
                    return
                if not self._perform(action):
                    break
            if not changed and not step.actions:
                if step.wake_at is not None:
                    self._wake_in(max(0.01, step.wake_at - now))
                return

    def _become(self, record: Record) -> None:
        moved = record.state is not self.record.state
        if moved and record.state is State.RUNNING:
            record = replace_struct(record, ready_at=time.time())
        self._save(record)
        if record.state is not State.STARTING:
            self._stop_starting()
        if record.replica is None and self.worker and self.worker.seen.ended:
            self.worker = None
        if moved:
            troubled = record.error if record.state in {State.BACKOFF, State.FAILED} else None
            why = f": {troubled.message}" if troubled else ""
            log.info("%s is %s%s", record.name, record.state.value, why)
            self._announce()

    def _save(self, record: Record) -> None:
        self._around.store.save(record)
        self.record = record
        self._around.watch.tell_now()

    def _seen(self) -> Seen:
        worker = self.worker.seen if self.worker else None
        is_ready = self._around.engine.ready or self.record.spec.runs_apart
        can_start = is_ready and self._starting is None
        if self.record.state is State.STARTING and self._berth.is_waited_for(self.record):
            can_start = False
            self._wake_in(_PORT_POLL_SECONDS)
        obtaining = self._obtaining
        return Seen(obtaining.seen, worker, obtaining.discard_seen, can_start)

    def _wake_in(self, seconds: float) -> None:
        """Look again then, unless it is to be sooner already."""
        loop = asyncio.get_running_loop()
        if self._timer:
            if self._timer.when() <= loop.time() + seconds:
                return
            self._timer.cancel()
        self._timer = loop.call_later(seconds, self.kick)

    def _perform(self, action: Action) -> bool:
        """Whether it was done; what could not be done is observed, and planned for again."""
        try:
            self._acts[action]()
        except (ModelDeployError, OSError) as error:
            self._not_performed(action, error)
            return False
        return True

    def _not_performed(self, action: Action, error: ModelDeployError | OSError) -> None:
        if isinstance(error, StateNotWritten):
            raise error
        if isinstance(error, OSError) and error.errno in _SHORT:  # it is tried again
            raise StateNotWritten(f"{action.value}: {error}") from error
        log.warning("%s: %s failed: %s", self.record.name, action.value, error)
        self._act_failed(error)

    def _act_failed(self, error: ModelDeployError | OSError) -> None:
        """What could not be done is observed like any other failure of that stage."""
        problem = (
            error.problem()
            if isinstance(error, ModelDeployError)
            else Problem(code="internal_error", message=str(error))
        )
        if self.record.state is State.FETCHING:
            self._obtaining.seen = FetchSeen(problem=problem)
        elif self.record.state in {State.STARTING, State.RUNNING}:
            self._save(replace_struct(self.record, state=State.FAILED, error=problem, replica=None))
            self._give_up_port()
            self._announce()

    # Actions.

    def _reserve(self) -> None:
        record = self.record
        if self._berth.is_waited_for(record):
            return
        port = self._berth.reserve(record).port
        if port != record.port:
            log.warning("%s: port %s is taken", record.name, record.port)
            self._save(replace_struct(record, port=port))

    @property
    def reservation(self) -> Reservation | None:
        """The port, while it is held here."""
        return self._berth.reservation

    def _refuse(self) -> None:
        worker = self.worker
        self._berth.refuse(unheard=worker is not None and not worker.seen.ready)

    def _give_up_port(self) -> None:
        worker = self.worker
        is_served = worker and not worker.seen.ended and not worker.seen.killed
        self._berth.release(unheard=not is_served)

    def _drain(self) -> None:
        if self.worker:
            self.worker.drain()

    def _kill(self) -> None:
        if self.worker:
            self.worker.kill()

    def _start_fetch(self) -> None:
        self._tell(Stage.VALIDATE, 0.5, "checking the model")
        self._obtaining.fetch(self.record, self.hub)

    def _fetch_progressed(self, line: FetchProgress) -> None:
        done, total = line.done_bytes, line.total_bytes
        unit = "bytes" if total else ""
        self._tell(line.stage, line.fraction, line.message, done, total, unit)

    def _discard(self) -> None:
        self._obtaining.discard(self.record, self.hub)

    def _start_worker(self) -> None:
        self._reserve()
        assert self.reservation is not None
        spec = worker_spec(self.record, self.reservation, self._around, self._keyring.digests)
        self._obtaining.seen = None
        self._tell(Stage.LOAD, 0.0, "starting a worker")
        self._starting = asyncio.ensure_future(self._start(spec, self.reservation))

    async def _start(self, spec: WorkerSpec, listener: Reservation) -> None:
        """Start a worker; given up where it is no longer wanted, for then it never begins."""
        around, run, memory = self._around, self.record.run, self.record.spec.memory
        try:
            with contextlib.suppress(NotStarted):
                self.worker = await Worker.start(
                    around.engine,
                    spec,
                    run,
                    listener,
                    around.paths,
                    self._worker_changed,
                    memory,
                    around.clock,
                )
        except (ModelDeployError, OSError) as error:
            self._try(partial(self._not_performed, Action.START, error))
        else:
            self._wake_in(0)
        finally:
            if self._starting is asyncio.current_task():
                self._starting = None

    def _stop_starting(self) -> None:
        if self._starting:
            self._starting.cancel()
            self._starting = None

    def _remember_worker(self) -> None:
        """Have the record name the live worker, so that the next supervisor finds it."""
        worker = self.worker
        if worker and not worker.seen.ended:
            if self.record.replica != worker.record:
                self._save(replace_struct(self.record, replica=worker.record))
            worker.go()

    def _worker_changed(self, worker: Worker) -> None:
        if worker is not self.worker:
            return
        report = worker.report
        self._around.watch.tell_soon()
        if report and worker.seen.ended:
            self._around.budget.gone(report.replica)
        elif report:
            self._share_cores(worker, report)
            self._keyring.heard(report, self._around.paths.worker_socket(report.replica))
        if report and report.phase == "loading":
            self._tell(
                report.stage,
                report.fraction,
                report.message,
                report.done,
                report.total,
                report.unit,
            )
        self.kick()

    def _share_cores(self, worker: Worker, report: WorkerReport) -> None:
        """Models on a GPU take no part in it."""
        if report.device == "cpu":
            asked = self.record.spec.threads
            budget = self._around.budget
            worker.use_threads(budget.heard(report.replica, report.busy_seconds, asked))

    def _smoke(self) -> None:
        assert self.worker is not None
        self.worker.seen = replace(self.worker.seen, smoke="asked")
        self._tell(Stage.COMPLETE, 0.1, "asking for a first prediction")
        task = asyncio.get_running_loop().create_task(self._try_smoke(self.worker))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _try_smoke(self, worker: Worker) -> None:
        assert self.record.model is not None
        assert self.record.port is not None
        problem = await asyncio.to_thread(
            smoke,
            self.record.spec.url(self.record.port),
            self.record.model.task,
            self.record.name,
            self._keyring.own,
        )
        worker.seen = replace(worker.seen, smoke=problem or "passed")
        self.kick()

    def _forget(self) -> None:
        self._around.store.delete(self.record.name)
        self.park()
        self._around.forget(self.record.name)

    # Telling.

    def _tell(
        self,
        stage: Stage,
        fraction: float,
        message: str,
        done: int = 0,
        total: int = 0,
        unit: str = "",
    ) -> None:
        record = self.record
        self.events.tell(record.run, record.state, stage, fraction, message, done, total, unit)
        self._around.watch.tell_soon()

    def _announce(self) -> None:
        announce(self.events, self.record)
        self._around.watch.tell_soon()

    @property
    def parked(self) -> bool:
        """Whether nothing happens here any more: it was removed, or the supervisor is ending."""
        return self._parked

    @property
    def settled(self) -> bool:
        """Whether nothing more will happen until somebody commands or something dies."""
        wanted = self.record.desired is Desired.RUNNING
        return self.record.state in SETTLED and (wanted != (self.record.state is State.STOPPED))
