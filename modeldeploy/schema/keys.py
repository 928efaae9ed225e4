"""API keys on the wire. None of these holds a key itself (``modeldeploy/apikeys.py`` says why)."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

Digest = Annotated[
    str, Meta(pattern=r"^[0-9a-f]{64}\Z", description="The SHA-256 of a key, in hexadecimal.")
]
Label = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9 ._@:+/-]{0,80}\Z", description="Whose it is, for people.")
]


class NewKey(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``POST /v1/deployments/{name}/keys``: whoever has the key of this ``digest`` may ask."""

    digest: Digest
    label: Label = ""


class ApiKey(Struct, frozen=True, kw_only=True):
    """A key as it is shown. ``in_force`` is false where the deployment's worker could not be told of
    it yet; it is told again until it knows."""

    id: str
    label: str
    created_at: float
    in_force: bool = True


class KeyOrder(Struct, frozen=True, kw_only=True):
    """``PUT /keys`` on a worker's private socket: these keys and no others."""

    digests: tuple[Digest, ...]
