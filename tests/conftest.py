"""Read before torch is: threads that wait for work must not spin, or two processes on two cores
slow each other down many times over."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "5000")
if "PYTEST_XDIST_WORKER" in os.environ:  # others compute beside this one
    os.environ.setdefault("OMP_NUM_THREADS", "1")
