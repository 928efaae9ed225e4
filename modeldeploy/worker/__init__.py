"""One replica of one model: loads it, batches requests, serves every dialect.

torch and transformers are imported by ``devices.py``, ``checkpoint.py`` and ``tasks/`` only, and
those late, in the loading thread: the process answers HTTP before it has a model.
"""

from __future__ import annotations
