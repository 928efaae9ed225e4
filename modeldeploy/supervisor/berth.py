"""The port of one deployment: reserved before its worker starts, open to clients while none serves, and
given up at its end."""

from __future__ import annotations

import socket
import time

from modeldeploy.errors import PortTaken
from modeldeploy.schema.deployment import Spec
from modeldeploy.supervisor.ports import Reservation
from modeldeploy.supervisor.record import Record
from modeldeploy.supervisor.surroundings import Surroundings

_PATIENCE_SECONDS = 3.0


class Berth:
    """``reservation`` is None while the port is nobody's or a stranger's."""

    def __init__(self, around: Surroundings, spec: Spec) -> None:
        self.reservation: Reservation | None = None
        self._around = around
        self._ports = around.ports.at(spec.host)
        self._missed_at: float | None = None

    @property
    def has_a_queue(self) -> bool:
        """Whether clients wait here, and nowhere else."""
        return self.reservation is not None and self.reservation.has_a_queue

    def reserve(self, record: Record) -> Reservation:
        """The port that was asked for, or the one that it had, or any.

        Raises:
            PortTaken, NoFreePort
        """
        self._missed_at = None
        if self.reservation is None and record.spec.port:
            self.reservation = self._around.reserve(record.spec.port, record.spec.host)
        elif self.reservation is None:
            others = self._around.ports_in_use() - {record.port}
            self.reservation = self._ports.reserve_any(record.port, others)
        return self.reservation

    def is_waited_for(self, record: Record) -> bool:
        """Reserve the port that it had; whether somebody has it who may be gone in a moment, as is the
        worker that was being started when its supervisor died. A stranger is given the same time."""
        if self.reservation or record.port is None:
            return False
        try:
            self.reservation = self._ports.reserve(record.port)
        except PortTaken:
            now = time.monotonic()
            self._missed_at = self._missed_at or now
            return now < self._missed_at + _PATIENCE_SECONDS
        self._missed_at = None
        return False

    def readopt(self, port: int, listener: socket.socket | None) -> None:
        """Hold the port beside a worker of an earlier supervisor, which gave its ``listener`` or not.

        Raises:
            PortTaken
        """
        self.reservation = self._ports.readopt(port, listener)

    def hold(self) -> None:
        """Have clients wait here."""
        if self.reservation:
            self.reservation.listen()

    def refuse(self, *, unheard: bool) -> None:
        """Let nobody wait here; ``unheard``: no worker will answer who does."""
        if self.reservation:
            if unheard:
                self.reservation.turn_away()
            self.reservation.refuse()

    def release(self, *, unheard: bool = False) -> None:
        """Give the port up."""
        if self.reservation:
            if unheard:
                self.reservation.turn_away()
            self.reservation.close()
            self.reservation = None
