"""Load on a deployment, and the fate of every request of it."""

from __future__ import annotations

import http.client
import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from urllib.parse import urlsplit

from tests.e2e.instance import eventually


class Kind(Enum):
    """How a request ended. ``UNREACHABLE`` was never accepted; ``BROKEN`` was, and its connection
    ended without an answer; ``WRONG`` got another's answer; ``LATE`` none for so long that
    somebody has forgotten it."""

    ANSWERED = "answered"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    BROKEN = "broken"
    WRONG = "wrong"
    LATE = "late"


@dataclass(frozen=True)
class Fate:
    """``id`` is the request's own, which a worker logs; ``began`` and ``ended`` are of
    ``time.monotonic``; ``status`` is 0 without an answer."""

    id: str
    kind: Kind
    began: float
    ended: float
    status: int = 0
    said: str = ""


class Load:
    """``clients`` of an echo deployment that never pause for longer than ``pause`` seconds, from
    ``with`` to its end. Each request has a text of its own, and a connection of its own, so that
    none is refused for what happened to another."""

    def __init__(
        self,
        url: str,
        clients: int = 4,
        *,
        delay: float = 0.0,
        pause: float = 0.002,
        patience: float = 60.0,
    ) -> None:
        at = urlsplit(url)
        self._host, self._port, self._path = at.hostname or "", at.port or 80, f"{at.path}/predict"
        self._delay, self._pause, self._patience = delay, pause, patience
        self._numbers = itertools.count()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask_on) for _ in range(clients)]
        self.fates: list[Fate] = []

    def _ask_on(self) -> None:
        while not self._stop.is_set():
            self.fates.append(self._ask(f"text {next(self._numbers)}"))
            self._stop.wait(self._pause)

    def _ask(self, text: str) -> Fate:
        began, id_ = time.monotonic(), f"load-{self._port}-{text.rpartition(' ')[2]}."
        kind, status, said = self._try(text, id_)
        return Fate(id_, kind, began, time.monotonic(), status, said)

    def _try(self, text: str, id_: str) -> tuple[Kind, int, str]:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=self._patience)
        try:
            try:
                connection.connect()
            except OSError as error:
                return Kind.UNREACHABLE, 0, repr(error)
            return self._exchange(connection, text, id_)
        except TimeoutError as error:
            return Kind.LATE, 0, repr(error)
        except (OSError, http.client.HTTPException) as error:
            return Kind.BROKEN, 0, repr(error)
        finally:
            connection.close()

    def _exchange(
        self, connection: http.client.HTTPConnection, text: str, id_: str
    ) -> tuple[Kind, int, str]:
        """Ask and be answered; other loads ask for other things."""
        body = json.dumps({"text": text, "delay": self._delay})
        headers = {"content-type": "application/json", "x-request-id": id_}
        connection.request("POST", self._path, body, headers)
        response = connection.getresponse()
        answer = json.loads(response.read())
        if response.status != 200:
            return Kind.REFUSED, response.status, str(answer)
        right = answer["result"] == [{"text": text}]
        return (Kind.ANSWERED if right else Kind.WRONG), 200, "" if right else str(answer)

    def count(self, kind: Kind = Kind.ANSWERED) -> int:
        return sum(fate.kind is kind for fate in list(self.fates))

    def goes_on(self, more: int = 20) -> None:
        """Returns when ``more`` requests were answered from now on."""
        before = self.count()
        eventually(lambda: self.count() >= before + more)

    def kinds(self) -> Counter[str]:
        return Counter(fate.kind.value for fate in self.fates)

    def assert_all_answered(self) -> None:
        others = [fate for fate in self.fates if fate.kind is not Kind.ANSWERED]
        assert not others, (self.kinds(), others[:3])

    def assert_accounted_for(
        self, may_break: Callable[[Fate], bool], may_refuse: Callable[[Fate], bool]
    ) -> None:
        """No accepted request without a true answer, but where it ``may_break`` because the worker
        that had it was killed; none refused but where it ``may_refuse``; and none that nobody ever
        told."""
        excuses: dict[Kind, Callable[[Fate], bool]] = {
            Kind.ANSWERED: lambda fate: True,
            Kind.BROKEN: may_break,
            Kind.REFUSED: may_refuse,
            Kind.UNREACHABLE: may_refuse,
            Kind.WRONG: lambda fate: False,
            Kind.LATE: lambda fate: False,
        }
        lost = [fate for fate in self.fates if not excuses[fate.kind](fate)]
        assert not lost, (self.kinds(), lost[:5])

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
