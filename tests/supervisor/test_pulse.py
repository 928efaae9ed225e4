from __future__ import annotations

import asyncio
import contextlib
import os
import time

import pytest

from modeldeploy.supervisor.clock import Clock
from modeldeploy.supervisor.pulse import Pulse


@pytest.mark.promise(4, fault="the supervisor itself was stopped while the gateway went on")
def test_what_was_written_meanwhile_counts() -> None:
    async def run() -> None:
        with contextlib.closing(Pulse(time.monotonic)) as pulse:
            stops = asyncio.ensure_future(pulse.stops(60, 1))
            await asyncio.sleep(0)
            os.write(pulse.theirs, b".")
            await asyncio.sleep(0.6)
            time.sleep(1.5)  # as one whom nobody scheduled
            os.write(pulse.theirs, b".")
            await asyncio.sleep(0.6)
            assert not stops.done()
            await asyncio.wait_for(stops, 30)

    asyncio.run(run())


@pytest.mark.promise(4, fault="the supervisor and the gateway were stopped together")
def test_patience_is_not_used_up_while_nobody_looks() -> None:
    async def run() -> None:
        clock = Clock()
        ticking = asyncio.ensure_future(clock.keep())
        with contextlib.closing(Pulse(clock)) as pulse:
            stops = asyncio.ensure_future(pulse.stops(2, 2))
            await asyncio.sleep(0)
            time.sleep(2.5)
            await asyncio.sleep(0.6)
            assert not stops.done()
            await asyncio.wait_for(stops, 30)
        ticking.cancel()

    asyncio.run(run())


def test_the_first_is_waited_for_longer() -> None:
    async def run() -> None:
        with contextlib.closing(Pulse(time.monotonic)) as pulse:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(pulse.stops(60, 0.1), 1)
            await asyncio.wait_for(pulse.stops(0.1, 60), 30)

    asyncio.run(run())
