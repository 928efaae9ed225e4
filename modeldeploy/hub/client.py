"""The Hub over HTTP: what a model consists of, and the bytes of its files.

huggingface_hub builds the requests, finds the stored token and names the errors. What it lacks is
added here and in :mod:`modeldeploy.hub.transfer`: bounded retries, a cap on ``Retry-After``,
resuming, and checksums.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterable, Iterator
from dataclasses import replace

from huggingface_hub.errors import HfHubHTTPError

from modeldeploy import __version__
from modeldeploy.errors import HubUnauthorized, ModelDeployError
from modeldeploy.hub.errors import Asked, translate
from modeldeploy.hub.hf import (
    HfApi,
    ModelInfo,
    TreeEntry,
    build_hf_headers,
    constants,
    get_session,
    get_token_to_send,
    hf_hub_url,
    hf_raise_for_status,
    httpx,
    parse_ratelimit_headers,
)
from modeldeploy.hub.limits import Limits
from modeldeploy.hub.listing import Listing, RepoFile, is_etag
from modeldeploy.modelids import HubModel, is_commit, is_safe_name
from modeldeploy.schema.deployment import HubAccess

_log = logging.getLogger(__name__)
_PASSING = frozenset({408, 429, 500, 502, 503, 504})
_ERROR_BODY = 1024 * 1024

# What an endpoint or an answer that is no Hub's makes of huggingface_hub: JSON that is none,
# fields that miss.
_STRANGE = (httpx.InvalidURL, ValueError, KeyError, TypeError, AttributeError)


class Stopped(Exception):
    """The fetch ends for another reason; nobody reads this."""


class HubClient:
    """One model on one Hub, for one user.

    Args:
        stop: set when the fetch ends; pauses are then cut short.
    """

    def __init__(
        self, model: HubModel, access: HubAccess, limits: Limits, stop: threading.Event
    ) -> None:
        self._model = model
        self._limits = limits
        self._stop = stop
        self._resting = 0
        self._endpoint = (access.endpoint or constants.ENDPOINT).rstrip("/")
        self.token = _checked(get_token_to_send(access.token or None))
        self._api = HfApi(
            endpoint=self._endpoint,
            token=self.token or False,
            library_name="modeldeploy",
            library_version=__version__,
        )
        self._asked = Asked(
            repo_id=model.repo_id,
            revision=model.revision,
            endpoint=self._endpoint,
            has_token=self.token is not None,
        )

    def listing(self) -> Listing:
        """What the revision consists of now.

        Raises:
            DownloadError: the Hub does not say; each cause has a type of its own.
        """
        for failures in range(1, self._limits.hub_attempts + 1):
            try:
                return self._ask()
            except (httpx.HTTPError, *_STRANGE) as error:
                if failures == self._limits.hub_attempts or not self.may_pass(error):
                    raise self.error(error) from error
                self.rest(failures, error)
        raise AssertionError("at least one attempt is made")

    def _ask(self) -> Listing:
        model, timeout = self._model, self._limits.hub_timeout
        info = self._api.model_info(
            model.repo_id, revision=model.revision, files_metadata=True, timeout=timeout
        )
        if info.sha is None or not is_commit(info.sha):
            raise ValueError("an answer without a commit")
        self._asked = replace(self._asked, is_gated=bool(info.gated))
        return Listing(
            commit=info.sha,
            files=_of_info(info) or self._of_tree(info.sha),
            pipeline_tag=info.pipeline_tag,
        )

    def _of_tree(self, commit: str) -> dict[str, RepoFile]:
        """The files by a second request, of a Hub whose first answer has no sizes and hashes."""
        tree = self._api.list_repo_tree(self._model.repo_id, recursive=True, revision=commit)
        entries = [entry for entry in tree if isinstance(entry, TreeEntry)]
        return _checkable((entry.path, entry) for entry in entries)

    @contextlib.contextmanager
    def stream(self, commit: str, name: str, start: int) -> Iterator[httpx.Response]:
        """The response that carries ``name`` from byte ``start`` on (or whole: see its status).

        A redirect to another origin is followed without the token: httpx drops it there.
        """
        url = hf_hub_url(self._model.repo_id, name, revision=commit, endpoint=self._endpoint)
        headers = build_hf_headers(
            token=self.token or False, library_name="modeldeploy", library_version=__version__
        )
        headers["Accept-Encoding"] = "identity"  # bytes on the wire are bytes of the file
        if start:
            headers["Range"] = f"bytes={start}-"
        with get_session().stream(
            "GET", url, headers=headers, timeout=self._limits.stall
        ) as answer:
            if answer.status_code >= 400:
                _read_error(answer)
                hf_raise_for_status(answer)
            yield answer

    def error(self, error: Exception) -> ModelDeployError:
        return translate(error, self._asked)

    def may_pass(self, error: Exception) -> bool:
        """Whether another try may go better: broken connections, the Hub's passing troubles."""
        if isinstance(error, HfHubHTTPError):
            return error.response.status_code in _PASSING
        lasting = (httpx.UnsupportedProtocol, httpx.LocalProtocolError, httpx.ProxyError)
        passing = (httpx.TransportError, httpx.DecodingError)
        return isinstance(error, passing) and not isinstance(error, lasting)

    def rest(self, failures: int, error: Exception) -> None:
        """Pause before the next try: longer each time, or as long as the Hub asks, up to a cap."""
        asked = min(_asked_pause(error), self._limits.retry_after_cap)
        pause = max(self._limits.pause(failures), asked)
        _log.info("%s; trying again in %.1f s", self.error(error).message, pause)
        self._resting += 1
        try:
            if self._stop.wait(pause):
                raise Stopped
        finally:
            self._resting -= 1

    @property
    def is_resting(self) -> bool:
        """Whether somebody pauses, so that silence is no sign of a bad connection."""
        return self._resting > 0


def _checked(token: str | None) -> str | None:
    """``token``, if it can be sent in a header; no error of a lower layer may ever quote it."""
    token = token.strip() if token else None
    if token and not (token.isascii() and token.isprintable() and " " not in token):
        raise HubUnauthorized(
            "the Hub token holds characters that no token has",
            hint="copy it anew from https://huggingface.co/settings/tokens into HF_TOKEN",
        )
    return token or None


def _of_info(info: ModelInfo) -> dict[str, RepoFile]:
    """The files by the answer itself; none where it tells only their names."""
    siblings = info.siblings or []
    if any(sibling.size is None or sibling.blob_id is None for sibling in siblings):
        return {}
    return _checkable((sibling.rfilename, sibling) for sibling in siblings)


def _checkable(entries: Iterable[tuple[str, object]]) -> dict[str, RepoFile]:
    """Those with a safe name and a checkable address, by name."""
    files = {}
    for name, entry in entries:
        lfs = getattr(entry, "lfs", None)
        etag = lfs.sha256 if lfs else getattr(entry, "blob_id", None)
        size = lfs.size if lfs else getattr(entry, "size", None)
        if is_safe_name(name) and isinstance(size, int) and size >= 0 and is_etag(str(etag)):
            files[name] = RepoFile(size=size, etag=str(etag))
    return files


def _read_error(answer: httpx.Response) -> None:
    """Read a small body, so that the error can quote the Hub's own words."""
    if int(answer.headers.get("Content-Length") or 0) < _ERROR_BODY:
        answer.read()


def _asked_pause(error: Exception) -> float:
    """Seconds that the Hub asks us to wait: ``Retry-After``, or its rate limit's reset."""
    if not isinstance(error, HfHubHTTPError):
        return 0.0
    headers = error.response.headers
    after = headers.get("Retry-After", "").strip()
    if after.isdecimal():
        return float(after)
    limit = parse_ratelimit_headers(headers)
    return float(limit.reset_in_seconds) if limit and limit.remaining == 0 else 0.0
