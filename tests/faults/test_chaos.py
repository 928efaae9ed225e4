from __future__ import annotations

import os

import pytest

from tests.faults.chaos import chaos

pytestmark = pytest.mark.e2e

SECONDS = float(os.environ.get("CHAOS_SECONDS", "20"))
SEED = int(os.environ.get("CHAOS_SEED", "11"))


@pytest.mark.slow
@pytest.mark.promise(1, fault="random harm under load (chaos)")
@pytest.mark.promise(5, fault="random harm under load (chaos)")
@pytest.mark.promise(6, fault="random harm under load (chaos)")
def test_a_short_chaos_loses_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with chaos(SEED) as one:
        try:
            one.run(SECONDS)
        finally:
            with capsys.disabled():
                print(f"\nseed {SEED}\n{one.report()}")
