"""What is measured, and against what: see ``docs/benchmarks.md``."""

import os

# What pip has installed is compiled already. So is a checkout, once it has run, where nobody forbids it.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # it would leave files in the home
