"""Where huggingface_hub keeps what we use of it, in one place.

All are documented names, but its package hides most from type checkers. ``httpx`` is the HTTP
library that this huggingface_hub speaks (``httpx2`` in 2.4), under the one name that stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from huggingface_hub import HfApi, constants, get_session, hf_hub_url, hf_raise_for_status
from huggingface_hub.hf_api import ModelInfo
from huggingface_hub.hf_api import RepoFile as TreeEntry

if TYPE_CHECKING:
    import httpx2 as httpx
    from huggingface_hub.utils._headers import build_hf_headers, get_token_to_send
    from huggingface_hub.utils._http import parse_ratelimit_headers
else:
    from huggingface_hub.utils import (
        build_hf_headers,
        get_token_to_send,
        httpx,
        parse_ratelimit_headers,
    )

__all__ = [
    "HfApi",
    "ModelInfo",
    "TreeEntry",
    "build_hf_headers",
    "constants",
    "get_session",
    "get_token_to_send",
    "hf_hub_url",
    "hf_raise_for_status",
    "httpx",
    "parse_ratelimit_headers",
]
