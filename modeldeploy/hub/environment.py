"""What huggingface_hub reads from the environment when it is first imported."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from modeldeploy.errors import InvalidSetting
from modeldeploy.schema.deployment import HubAccess


def prepare(access: HubAccess) -> None:
    """Set it, before the import.

    ``access`` decides whether we are offline, not a variable that the supervisor inherited from
    whoever happened to start it. ``HF_DEBUG`` would log requests with their headers.

    Raises:
        InvalidSetting: the endpoint is no address; huggingface_hub could not even be imported.
    """
    _check(access.endpoint or os.environ.get("HF_ENDPOINT") or "https://huggingface.co")
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


def _check(endpoint: str) -> None:
    try:
        parts = urlsplit(endpoint)
        well_formed = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:  # a bracket that never closes, a port that is no number
        well_formed = False
    if not well_formed:  # not quoted: it may hold a password
        raise InvalidSetting(
            "the Hub's endpoint is not an http or https address",
            hint="set HF_ENDPOINT to one like https://huggingface.co, or unset it",
        )
