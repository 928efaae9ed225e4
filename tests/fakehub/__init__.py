"""A Hub on the loopback interface that speaks to the real huggingface_hub, and fails to order.

::

    with FakeHub() as hub:
        commit = hub.add("org/model", {"config.json": b"{}", "model.safetensors": weights})
        hub.fault("*/model.safetensors", truncate=1000, times=1)
        ...  # HubAccess(endpoint=hub.endpoint), or HF_ENDPOINT
        assert hub.sent("*/resolve/*") == 0
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fakehub.faults import Fault
from tests.fakehub.hub import FakeHub, Request
from tests.fakehub.repos import Repo, etag_of, is_lfs


@pytest.fixture
def fake_hub() -> Iterator[FakeHub]:
    """A running, empty Hub; import this fixture where it is needed."""
    with FakeHub() as hub:
        yield hub


__all__ = ["FakeHub", "Fault", "Repo", "Request", "etag_of", "fake_hub", "is_lfs"]
