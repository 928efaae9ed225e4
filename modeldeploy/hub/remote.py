"""A model of the Hub: from its id to a snapshot that is whole and verified.

The order keeps the large download last: what the revision consists of, its config (which decides
the task and whether we can serve it at all), what is cached and intact, whether the rest fits,
and only then the rest.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from modeldeploy.errors import (
    HubRateLimited,
    HubUnavailable,
    ModelDeployError,
    NoNetwork,
    UnsupportedModel,
)
from modeldeploy.hub import config, environment, fit, record, select, tasks
from modeldeploy.hub.fit import human
from modeldeploy.hub.layout import RepoCache
from modeldeploy.hub.limits import Limits
from modeldeploy.hub.listing import Listing, RepoFile
from modeldeploy.hub.lock import exclusive
from modeldeploy.hub.meter import Meter
from modeldeploy.hub.secrets import Redactor
from modeldeploy.hub.shelf import Shelf
from modeldeploy.hub.wire import Reporter
from modeldeploy.modelids import HubModel
from modeldeploy.schema.fetch import FetchRequest, ResolvedModel
from modeldeploy.schema.stages import Stage

if TYPE_CHECKING:
    from modeldeploy.hub.client import HubClient

_log = logging.getLogger(__name__)
_Tick = Callable[[], None]
_UNREACHABLE = (NoNetwork, HubUnavailable, HubRateLimited)


class RemoteFetch:
    """One fetch of one model. ``run`` is called once."""

    def __init__(
        self,
        model: HubModel,
        request: FetchRequest,
        reporter: Reporter,
        limits: Limits,
        redact: Redactor,
    ) -> None:
        self._model = model
        self._spec = request.spec
        self._access = request.hub
        self._reporter = reporter
        self._limits = limits
        self._redact = redact
        self._cache = RepoCache(Path(request.spec.cache_dir), model.repo_id)
        self._record = record.Record()
        self._meter = Meter()
        self._stop = threading.Event()
        self._unreachable: ModelDeployError | None = None
        self._is_guess = False

    def run(self) -> ResolvedModel:
        """Raises ModelError or DownloadError; OSError where the cache cannot be written."""
        with exclusive(self._cache.lock, self._on_wait):
            self._record = record.load(self._cache.record)
            try:
                return self._fetch(self._listing())
            finally:
                if self._cache.folder.is_dir():
                    record.save(self._cache.record, self._record)

    def _on_wait(self) -> None:
        message = f"waiting for another download of {self._model.repo_id}"
        self._reporter.say(Stage.VALIDATE, 0.0, message)

    # What the revision consists of

    def _listing(self) -> Listing:
        """By the Hub; by memory where a commit is pinned; by the cache where the Hub is away."""
        if self._access.offline:
            self._unreachable = self._offline_error()
            return self._cached_listing(self._unreachable)
        known = self._record.listings.get(self._model.revision)
        if known is not None:
            return known
        self._reporter.say(Stage.VALIDATE, 0.0, f"asking the Hub about {self._model.repo_id}")
        try:
            return self._client.listing()
        except _UNREACHABLE as error:
            self._unreachable = error
            return self._cached_listing(error)

    def _cached_listing(self, unreachable: ModelDeployError) -> Listing:
        commit = self._cache.commit_of(self._model.revision)
        listing = self._record.listings.get(commit or "")
        if listing is None and commit is not None:
            listing = self._cache.read_snapshot(commit)
            self._is_guess = True
        if listing is None:
            raise unreachable
        self._reporter.say(Stage.VALIDATE, 0.3, "offline, using the cached snapshot")
        return listing

    def _offline_error(self) -> NoNetwork:
        return NoNetwork(
            f"{self._model.repo_id} is not whole in {self._cache.root}, and offline mode is on",
            hint="deploy once without HF_HUB_OFFLINE, or choose another --cache-dir",
        )

    @cached_property
    def _client(self) -> HubClient:
        environment.prepare(self._access)
        from modeldeploy.hub.client import HubClient

        client = HubClient(self._model, self._access, self._limits, self._stop)
        self._redact.hide(client.token)
        return client

    # From there to the snapshot

    def _fetch(self, listing: Listing) -> ResolvedModel:
        shelf = Shelf(self._cache, listing, self._record, self._meter)
        select.require_config(listing.files)
        self._have(shelf, [select.CONFIG])
        settings = config.read(shelf.read(select.CONFIG))
        task = tasks.decide(self._spec, listing.pipeline_tag, settings, listing.files)
        self._reporter.say(Stage.VALIDATE, 0.5, f"{self._model.repo_id} is for {task.name}")
        chosen = self._select(shelf, settings)
        weights_bytes = listing.size_of(chosen.weights)
        fit.check_memory(weights_bytes, self._spec.device)
        self._have_all(shelf, chosen.files)
        snapshot = shelf.show(chosen.files)
        self._remember(listing)
        return ResolvedModel(
            model_id=self._spec.model_id,
            commit=listing.commit,
            snapshot=str(snapshot),
            task=task.name,
            model_type=task.model_type,
            architectures=settings.architectures,
            weights_bytes=weights_bytes,
            total_bytes=listing.size_of(chosen.files),
            downloaded_bytes=self._meter.wire,
        )

    def _select(self, shelf: Shelf, settings: config.ModelConfig) -> select.Selection:
        try:
            return self._selection(shelf, settings)
        except UnsupportedModel:
            if self._is_guess and self._unreachable:  # another tool cached a part of it only
                raise self._unreachable from None
            raise

    def _selection(self, shelf: Shelf, settings: config.ModelConfig) -> select.Selection:
        names = shelf.listing.files
        if not settings.needs_weights:
            return select.select(names, None, [], self._spec)
        entry = select.weights_entry(names, allow_pickle=self._spec.allow_pickle)
        weights = [entry]
        if select.is_index(entry):
            self._have(shelf, [entry])
            weights = select.shards(entry, shelf.read(entry), names)
        return select.select(names, entry, weights, self._spec)

    def _have(self, shelf: Shelf, names: list[str]) -> None:
        """Have the few small files that decide what else is needed."""
        missing = shelf.missing(names, lambda _done, _total: None)
        self._download(shelf, missing, lambda: None)

    def _have_all(self, shelf: Shelf, names: list[str]) -> None:
        missing = shelf.missing(names, self._on_hashed)
        total, to_come = shelf.listing.size_of(names), shelf.bytes_to_come(missing.values())
        fit.check_disk(to_come, self._limits.disk_margin, self._cache.root)
        if missing:
            message = f"downloading {len(missing)} of {len(names)} files, {human(to_come)}"
            self._tell(total, message)
        self._download(shelf, missing, lambda: self._tick(total))
        self._tell(total, self._summary(len(names), total))

    def _download(self, shelf: Shelf, missing: dict[str, RepoFile], on_tick: _Tick) -> None:
        if not missing:
            return
        if self._unreachable is not None:
            raise self._unreachable
        client = self._client
        from modeldeploy.hub.fetch import Pace, bring_all
        from modeldeploy.hub.transfer import Transfer

        commit = shelf.listing.commit
        transfer = Transfer(client, self._cache, commit, self._meter, self._limits, self._stop)
        pace = Pace(self._limits)

        def tick() -> None:
            pace.check(self._meter.wire, client.is_resting)
            on_tick()

        bring_all(transfer, missing, self._limits, tick)
        shelf.accept(missing.values())

    def _remember(self, listing: Listing) -> None:
        """What was fetched; listings of snapshots that were removed since are forgotten."""
        if not self._is_guess:
            self._record.listings[listing.commit] = listing
        for commit in list(self._record.listings):
            if not self._cache.snapshot(commit).is_dir():
                del self._record.listings[commit]
        if self._unreachable is None:
            self._cache.write_ref(self._model.revision, listing.commit)

    # Words

    def _on_hashed(self, done: int, total: int) -> None:
        message = f"verifying {human(total)} that are cached"
        self._reporter.tick(Stage.VALIDATE, 0.5 + 0.5 * done / max(1, total), message)

    def _tell(self, total: int, message: str) -> None:
        done = self._meter.done
        self._reporter.say(Stage.DOWNLOAD, done / max(1, total), message, done, total)

    def _tick(self, total: int) -> None:
        done = self._meter.done
        message = f"{human(done)} of {human(total)}"
        self._reporter.tick(Stage.DOWNLOAD, done / max(1, total), message, done, total)

    def _summary(self, count: int, total: int) -> str:
        if self._meter.wire == 0:
            return f"cached: {count} files, {human(total)}, nothing to download"
        return f"downloaded and verified {human(self._meter.wire)} of {human(total)}"
