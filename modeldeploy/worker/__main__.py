"""``python -m modeldeploy.worker SPEC.json``: see ``boot.py``."""

from __future__ import annotations

import sys

from modeldeploy.worker.boot import main

if __name__ == "__main__":
    sys.exit(main(sys.argv))
