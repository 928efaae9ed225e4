"""A model of the Hub: from its id to a snapshot that is whole and verified.

The order keeps the large download last: what the revision consists of, its config (which decides
the task and whether we can serve it at all), what is cached and intact, whether the rest fits,
and only then the rest.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from modeldeploy import extras
from modeldeploy.errors import (
    HubRateLimited,
    HubUnavailable,
    ModelDeployError,
    NoNetwork,
    UnsupportedModel,
)
from modeldeploy.hub import adapters, config, environment, fit, record, select, tasks, untrusted
from modeldeploy.hub.adapters import Companion
from modeldeploy.hub.layout import RepoCache
from modeldeploy.hub.limits import Limits
from modeldeploy.hub.listing import Listing, RepoFile
from modeldeploy.hub.lock import exclusive
from modeldeploy.hub.meter import Meter
from modeldeploy.hub.secrets import Redactor
from modeldeploy.hub.shelf import Shelf
from modeldeploy.hub.vocoders import vocoder_of
from modeldeploy.hub.wire import Reporter
from modeldeploy.hub.words import Words
from modeldeploy.modelids import HubModel
from modeldeploy.schema import tasks as schema_tasks
from modeldeploy.schema.fetch import FetchRequest, ResolvedModel
from modeldeploy.schema.stages import Stage
from modeldeploy.schema.tasks import TaskSchema

if TYPE_CHECKING:
    from modeldeploy.hub.client import HubClient

_log = logging.getLogger(__name__)
_Tick = Callable[[], None]
_UNREACHABLE = (NoNetwork, HubUnavailable, HubRateLimited)


class _Needs(Exception):
    """The model is loaded with another one, which is not there yet."""

    def __init__(self, model_id: str, revision: str | None, task: str | None) -> None:
        super().__init__(model_id)
        self.model_id = model_id
        self.revision = revision
        self.task = task


class RemoteFetch:
    """One fetch of one model. ``run`` is called once. ``companion`` fetches what the model is
    loaded with; None where the model is itself a companion."""

    def __init__(
        self,
        model: HubModel,
        request: FetchRequest,
        reporter: Reporter,
        limits: Limits,
        redact: Redactor,
        companion: Companion | None = None,
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
        self._words = Words(reporter, self._meter)
        self._stop = threading.Event()
        self._unreachable: ModelDeployError | None = None
        self._is_guess = False
        self._companion = companion
        self._found: ResolvedModel | None = None
        self._listed: Listing | None = None

    def run(self) -> ResolvedModel:
        """Raises ModelError or DownloadError; OSError where the cache cannot be written."""
        try:
            return self._run_alone()
        except _Needs as needs:
            self._have_companion(needs)
        return self._run_alone()

    def _run_alone(self) -> ResolvedModel:
        """While no other process is at the same model. Never two locks at once: two models that
        name each other would wait for ever."""
        with exclusive(self._cache.lock, self._on_wait):
            self._record = record.load(self._cache.record)
            try:
                self._listed = self._listed or self._listing()
                return self._fetch(self._listed)
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
        if self._model.file is not None:
            return self._fetch_gguf(shelf, self._model.file)
        if adapters.is_adapter(listing.files):
            return self._fetch_adapter(shelf)
        with self._whole():
            select.require_config(listing.files)
        self._have(shelf, [select.CONFIG])
        settings = config.read(shelf.read(select.CONFIG))
        task = tasks.decide(self._spec, listing.pipeline_tag, settings, listing.files)
        self._reporter.say(Stage.VALIDATE, 0.5, f"{self._model.repo_id} is for {task.name}")
        with self._whole():
            chosen = self._selection(shelf, settings)
        fit.check_memory(listing.size_of(chosen.weights), self._spec.device)
        vocoder = vocoder_of(task.name, settings.architectures)
        companion = self._companion_of(vocoder, None, task.name) if vocoder else None
        return self._resolved(shelf, chosen, task, settings.architectures, companion)

    def _fetch_gguf(self, shelf: Shelf, file: str) -> ResolvedModel:
        """Exactly that file: tokenizer and all are in it."""
        listing = shelf.listing
        with self._whole():
            name = select.gguf_file(file, listing.files)
        extras.require("gguf", "a GGUF file")
        task = tasks.decide(self._spec, listing.pipeline_tag, config.GGUF)
        self._reporter.say(Stage.VALIDATE, 0.5, f"{name} is for {task.name}")
        fit.check_memory(listing.size_of([name]), self._spec.device)
        found = self._resolved(shelf, select.Selection(files=[name], weights=[name]), task, [])
        return replace(
            found,
            snapshot=str(self._cache.converted(listing.files[name].etag)),
            gguf=str(Path(found.snapshot) / name),
        )

    def _fetch_adapter(self, shelf: Shelf) -> ResolvedModel:
        """The base model first: it says what it all is for where the adapter does not."""
        listing = shelf.listing
        self._have(shelf, [adapters.CONFIG])
        adapter = adapters.read(shelf.read(adapters.CONFIG))
        extras.require("peft", "an adapter")
        with self._whole():
            weights = adapters.weights(listing.files, allow_pickle=self._spec.allow_pickle)
        base = adapters.base_of_stranger(adapter)
        self._reporter.say(Stage.VALIDATE, 0.5, f"{self._model.repo_id} is an adapter of {base}")
        asked = adapters.task_of(adapter, self._spec, listing.pipeline_tag)
        companion = self._companion_of(base, adapter.revision, asked)
        chosen = select.select(listing.files, None, [weights], self._spec)
        task = schema_tasks.TASKS[companion.task]
        return self._resolved(shelf, chosen, task, companion.architectures, companion)

    def _companion_of(self, model_id: str, revision: str | None, task: str | None) -> ResolvedModel:
        """What the model is loaded with, which is fetched between two runs."""
        if self._found is None:
            raise _Needs(model_id, revision, task)
        return self._found

    def _have_companion(self, needs: _Needs) -> None:
        if self._companion is None:
            raise UnsupportedModel(
                f"{self._model.repo_id} needs {needs.model_id} and is itself what another model needs",
                hint="deploy a model that is whole",
            )
        self._found = self._companion(needs.model_id, needs.revision, needs.task)
        self._words.before = self._found.total_bytes

    def _resolved(
        self,
        shelf: Shelf,
        chosen: select.Selection,
        task: TaskSchema,
        architectures: list[str],
        companion: ResolvedModel | None = None,
    ) -> ResolvedModel:
        """Once all of ``chosen`` is there."""
        listing = shelf.listing
        self._have_all(shelf, chosen.files)
        snapshot = shelf.show(chosen.files)
        self._remember(listing)
        return ResolvedModel(
            model_id=self._spec.model_id,
            commit=listing.commit,
            snapshot=str(snapshot),
            task=task.name,
            model_type=task.model_type,
            architectures=architectures,
            weights_bytes=listing.size_of(chosen.weights)
            + (companion.weights_bytes if companion else 0),
            total_bytes=listing.size_of(chosen.files) + self._words.before,
            downloaded_bytes=self._meter.wire + (companion.downloaded_bytes if companion else 0),
            companion=companion.snapshot if companion else None,
        )

    @contextlib.contextmanager
    def _whole(self) -> Iterator[None]:
        """Around what misses files: offline that may be what another tool never cached."""
        try:
            yield
        except UnsupportedModel:
            if self._is_guess and self._unreachable:
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
        for name in names:
            untrusted.refuse_larger(name, shelf.listing.size_of([name]))
        missing = shelf.missing(names, lambda _done, _total: None)
        self._download(shelf, missing, lambda: None)

    def _have_all(self, shelf: Shelf, names: list[str]) -> None:
        missing = shelf.missing(names, self._words.hashed)
        total, to_come = shelf.listing.size_of(names), shelf.bytes_to_come(missing.values())
        fit.check_disk(to_come, self._limits.disk_margin, self._cache.root)
        if missing:
            self._words.to_come(len(missing), len(names), to_come, total)
        self._download(shelf, missing, lambda: self._words.tick(total))
        self._words.ended(len(names), total)

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
