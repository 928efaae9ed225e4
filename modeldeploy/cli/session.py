"""What every verb begins with: the settings in force, and the supervisor."""

from __future__ import annotations

import warnings

from modeldeploy import client, settings
from modeldeploy.cli import output
from modeldeploy.client import Client
from modeldeploy.settings import Settings


def connect(values: Settings | None = None) -> Client:
    """The supervisor's client; it is started if it does not run."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = client.ensure_running(values or settings.load())
    for warning in caught:
        output.warn(str(warning.message))
    return found
