"""``make chaos``: ten minutes of random harm (``tests/faults/chaos.py``); what came of it is kept.

``python -m bench.chaos [SECONDS [SEED]]``; a run of less than ten minutes is only told.
"""

from __future__ import annotations

import random
import sys

from bench import ending, results
from tests.faults.chaos import Chaos, chaos

RESULT = results.FOLDER / "chaos.json"
_KEPT = 600.0  # seconds


def found(one: Chaos, seconds: float, seed: int) -> dict[str, object]:
    return {
        **results.header("chaos"),
        "seconds": seconds,
        "seed": seed,
        "harm": dict(one.harm.most_common()),
        "requests": one.requests(),
        "sizes": {"before": one.before, "after": one.after},
    }


def main(seconds: str = "600", seed: str = "") -> None:
    ending.heed()
    number = int(seed) if seed else random.SystemRandom().randrange(2**32)
    print(f"chaos for {seconds} s, seed {number}", flush=True)
    with chaos(number) as one:
        try:
            one.run(float(seconds))
        finally:
            print(one.report(), flush=True)
        if float(seconds) >= _KEPT:
            results.save(RESULT, found(one, float(seconds), number))
    print("no request is unaccounted for, and nothing is left behind")


if __name__ == "__main__":
    main(*sys.argv[1:])
