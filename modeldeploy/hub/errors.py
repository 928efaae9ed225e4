"""From what huggingface_hub, HTTP and the operating system raise to our typed errors."""

from __future__ import annotations

import errno
import shutil
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from huggingface_hub.errors import (
    DisabledRepoError,
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from modeldeploy.errors import (
    DiskFull,
    DownloadError,
    GatedModel,
    HubRateLimited,
    HubUnauthorized,
    HubUnavailable,
    ModelDeployError,
    ModelNotFound,
    NoNetwork,
    RevisionNotFound,
)
from modeldeploy.hub import fit
from modeldeploy.hub.hf import httpx

_AGAIN = "`modeldeploy start NAME` goes on where it stopped"
_LOGIN = "log in with `hf auth login` or set HF_TOKEN"
_NO_HUB = (httpx.UnsupportedProtocol, httpx.LocalProtocolError)
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Asked:
    """What was being asked for when it went wrong."""

    repo_id: str
    revision: str
    endpoint: str
    has_token: bool
    is_gated: bool = False

    @property
    def page(self) -> str:
        """The model's own, where a browser finds it."""
        return f"{self.endpoint}/{self.repo_id}"

    @property
    def host(self) -> str:
        found = urlsplit(self.endpoint)
        return f"{found.hostname}:{found.port}" if found.port else str(found.hostname)


def translate(error: Exception, asked: Asked) -> ModelDeployError:
    """The typed error for ``error``: each cause has a message of its own and says what to do."""
    if isinstance(error, ModelDeployError):
        return error
    if isinstance(error, HfHubHTTPError):
        return _http(error, asked)
    if isinstance(error, httpx.TransportError) and not isinstance(error, _NO_HUB):
        return _transport(error, asked)
    return DownloadError(
        f"{asked.host} does not answer as a Hub does ({type(error).__name__})",
        hint="check HF_ENDPOINT, and whether a proxy or a login page stands in between",
    )


def from_os(error: OSError, place: Path) -> ModelDeployError:
    """The typed error for a failure to read or write under ``place``."""
    if error.errno in _NO_SPACE:
        return _no_space(place)
    return DownloadError(
        f"{error.filename or place}: {error.strerror or error}",
        hint=f"check that {place} can be read and written, or choose another with --cache-dir",
    )


def _no_space(cache: Path) -> DiskFull:
    free = next(shutil.disk_usage(path).free for path in (cache, *cache.parents) if path.exists())
    return DiskFull(
        f"the disk of {cache} is full ({fit.human(free)} free)",
        hint=f"free some space or choose another disk with --cache-dir; {_AGAIN}",
    )


def _http(error: HfHubHTTPError, asked: Asked) -> ModelDeployError:
    details = (error.server_message.strip(),) if error.server_message else ()
    kind, message, hint = _named(error, asked) or _by_status(error.response.status_code, asked)
    return kind(message, hint, details)


_Words = tuple[type[ModelDeployError], str, str]


def _named(error: HfHubHTTPError, asked: Asked) -> _Words | None:
    """The failures that the Hub names; to it a gated repository is a kind of missing one."""
    if isinstance(error, RepositoryNotFoundError):
        gated = asked.is_gated or isinstance(error, GatedRepoError)
        return _gated(asked) if gated else _missing(asked)
    if isinstance(error, RevisionNotFoundError):
        return (
            RevisionNotFound,
            f"{asked.repo_id} has no revision {asked.revision!r}",
            f"see {asked.page}/refs for its branches and tags",
        )
    if isinstance(error, EntryNotFoundError):
        message = f"a file of {asked.repo_id} is listed, but the Hub does not have it"
        return DownloadError, message, "the upload seems unfinished: try another revision"
    if isinstance(error, DisabledRepoError):
        message = f"the Hub has disabled access to {asked.repo_id}"
        return ModelNotFound, message, "deploy another model; the model's page may say why"
    return None


def _gated(asked: Asked) -> _Words:
    page = asked.page
    if asked.has_token:
        message = f"{asked.repo_id} is gated, and this token's account has no access to it"
        return GatedModel, message, f"ask for access on {page}; when it is granted, {_AGAIN}"
    return (
        GatedModel,
        f"{asked.repo_id} is gated: its authors let in only who asked them",
        f"ask for access on {page}, then {_LOGIN}, and deploy again",
    )


def _missing(asked: Asked) -> _Words:
    message = f"{asked.host} has no model {asked.repo_id}"
    if asked.has_token:
        hint = "check the spelling; if it is private, the token in use must be allowed to read it"
        return ModelNotFound, message, hint
    return ModelNotFound, message, f"check the spelling; if it is private, {_LOGIN}"


def _by_status(status: int, asked: Asked) -> _Words:
    if asked.is_gated and status in {401, 403}:
        return _gated(asked)
    if status == 401:
        return _unauthorized(asked)
    if status == 403:
        message = f"{asked.host} forbids this access to {asked.repo_id} (403)"
        hint = "use a token that may read this repository's contents"
        return HubUnauthorized, message, hint
    if status == 404:
        return _missing(asked)
    if status == 429:
        message = f"{asked.host} refuses more requests for now (429)"
        hint = f"wait some minutes; {_LOGIN} for a higher limit; {_AGAIN}"
        return HubRateLimited, message, hint
    if status >= 500 or status == 408:
        message = f"{asked.host} has trouble of its own ({status})"
        return HubUnavailable, message, f"see https://status.huggingface.co; later, {_AGAIN}"
    message = f"{asked.host} answered {status} for {asked.repo_id}"
    return DownloadError, message, f"check the model id and HF_ENDPOINT; {_AGAIN}"


def _unauthorized(asked: Asked) -> _Words:
    if not asked.has_token:
        return HubUnauthorized, f"{asked.host} wants to know who asks (401)", f"{_LOGIN}"
    return (
        HubUnauthorized,
        f"{asked.host} does not accept the token (401)",
        f"it may have expired: {_LOGIN} anew, and deploy again",
    )


def _transport(error: httpx.TransportError, asked: Asked) -> ModelDeployError:
    if isinstance(error, httpx.ProxyError):
        return NoNetwork(
            f"the proxy on the way to {asked.host} refuses",
            hint="check HTTP_PROXY, HTTPS_PROXY and NO_PROXY",
        )
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return NoNetwork(
            f"the certificate of {asked.host} is not trusted",
            hint="if a company proxy signs it, point SSL_CERT_FILE at its certificate authority",
        )
    if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout)):
        return NoNetwork(
            f"{asked.host} cannot be reached",
            hint="check the network connection and HF_ENDPOINT; a model that is cached whole, "
            "a directory, and builtin/sentiment can be deployed without a network",
        )
    if isinstance(error, httpx.TimeoutException):
        return HubUnavailable(
            f"{asked.host} took the request and then said nothing more", hint=f"later, {_AGAIN}"
        )
    return NoNetwork(
        f"the connection to {asked.host} broke off again and again", hint=f"later, {_AGAIN}"
    )
