"""The control API's client: the command line, the SDK and the gateway use it and nothing else.

``modeldeploy.client.connect()`` gives one, and starts the supervisor if none answers.
"""

from __future__ import annotations

from modeldeploy.client.api import Client
from modeldeploy.client.launch import (
    connect,
    ensure_running,
    hub_access,
    hub_pipe,
    supervisor_command,
)
from modeldeploy.client.wire import failure

__all__ = [
    "Client",
    "connect",
    "ensure_running",
    "failure",
    "hub_access",
    "hub_pipe",
    "supervisor_command",
]
