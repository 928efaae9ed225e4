"""Many blobs at a time, watched: progress, the first failure, and a connection that only drips."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait

from modeldeploy.errors import DownloadTimeout
from modeldeploy.hub.fit import human
from modeldeploy.hub.limits import Limits
from modeldeploy.hub.listing import RepoFile
from modeldeploy.hub.transfer import Transfer

_TICK = 0.1


class Pace:
    """Refuses a download that drips: less than ``trickle_bytes`` in ``trickle_window``.

    A connection that brings a byte now and then never runs into a socket's timeout.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._samples: deque[tuple[float, int]] = deque()

    def check(self, received: int, resting: bool) -> None:
        """Note that ``received`` bytes have come in all; a pause that we make starts a new window.

        Raises:
            DownloadTimeout: too few in the window that ends now.
        """
        now = self._clock()
        if resting:
            self._samples.clear()
        self._samples.append((now, received))
        since, before = self._samples[0]
        if now - since < self._limits.trickle_window:
            return
        if received - before < self._limits.trickle_bytes:
            raise DownloadTimeout(
                f"only {human(received - before)} came in the last {now - since:.0f} s",
                hint="the connection or the Hub is too slow now; later, `modeldeploy start NAME` "
                "goes on where it stopped",
            )
        while now - self._samples[0][0] >= self._limits.trickle_window:
            self._samples.popleft()


def bring_all(
    transfer: Transfer, files: dict[str, RepoFile], limits: Limits, on_tick: Callable[[], None]
) -> None:
    """Bring ``files`` (one name per content), the large ones first; ``on_tick`` is called often.

    Raises:
        What the first failing transfer raises, at once; the others are told to stop.
    """
    pool = ThreadPoolExecutor(limits.parallel, thread_name_prefix="fetch")
    by_size = sorted(files.items(), key=lambda item: -item[1].size)
    try:
        pending = {pool.submit(transfer.bring, name, file) for name, file in by_size}
        while pending:
            done, pending = wait(pending, timeout=_TICK, return_when=FIRST_EXCEPTION)
            _raise_first(done)
            on_tick()
    except BaseException:  # a signal to end too
        transfer.stop()
        raise
    finally:
        # Not waited for: a thread may hang in a dead connection until its timeout.
        pool.shutdown(wait=False, cancel_futures=True)


def _raise_first(done: set[Future[None]]) -> None:
    for future in done:
        future.result()
