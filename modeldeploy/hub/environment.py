"""What huggingface_hub reads from the environment when it is first imported."""

from __future__ import annotations

import os

from modeldeploy.schema.deployment import HubAccess


def prepare(access: HubAccess) -> None:
    """Set it, before the import.

    ``access`` decides whether we are offline, not a variable that the supervisor inherited from
    whoever happened to start it. ``HF_DEBUG`` would log requests with their headers.
    """
    if access.endpoint:
        os.environ["HF_ENDPOINT"] = access.endpoint
    os.environ.update(
        HF_HUB_OFFLINE="0",
        TRANSFORMERS_OFFLINE="0",
        HF_DEBUG="0",
        HF_HUB_DISABLE_TELEMETRY="1",
        HF_HUB_DISABLE_XET="1",
        HF_HUB_DISABLE_PROGRESS_BARS="1",
        HF_HUB_DISABLE_UPDATE_CHECK="1",
    )
