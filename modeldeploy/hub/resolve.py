"""From a request to a model that is whole on this disk."""

from __future__ import annotations

import contextlib
from pathlib import Path

from msgspec.structs import replace

from modeldeploy.errors import UnsupportedModel
from modeldeploy.hub import local
from modeldeploy.hub.adapters import Companion
from modeldeploy.hub.fit import human
from modeldeploy.hub.layout import RepoCache
from modeldeploy.hub.limits import Limits
from modeldeploy.hub.lock import exclusive
from modeldeploy.hub.remote import RemoteFetch
from modeldeploy.hub.secrets import Redactor
from modeldeploy.hub.wire import Reporter
from modeldeploy.modelids import BuiltinModel, HubModel, LocalModel, parse
from modeldeploy.schema.deployment import Spec
from modeldeploy.schema.fetch import FetchRequest, ResolvedModel
from modeldeploy.schema.stages import Stage


def resolve(
    request: FetchRequest, reporter: Reporter, limits: Limits, redact: Redactor
) -> ResolvedModel:
    """Have the model of ``request`` on this disk, whole and verified.

    Raises:
        InvalidModelId: the id is none.
        ModelError: the model cannot be served as asked.
        DownloadError: it cannot be had now.
    """
    source = parse(request.spec.model_id, request.spec.revision)
    reporter.say(Stage.VALIDATE, 0.0, f"looking at {request.spec.model_id}")

    def companion(model_id: str, revision: str | None, task: str | None) -> ResolvedModel:
        spec = replace(request.spec, model_id=model_id, revision=revision, task=task)
        wanted = parse(model_id, revision)
        if not isinstance(wanted, HubModel):
            return _whole(local.resolve(wanted, spec, None))
        return _remote(wanted, replace(request, spec=spec), reporter, limits, redact, None)

    if isinstance(source, HubModel):
        return _remote(source, request, reporter, limits, redact, companion)
    return _local(source, request.spec, reporter, companion)


def _whole(companion: ResolvedModel) -> ResolvedModel:
    if companion.gguf is not None:
        raise UnsupportedModel(
            f"{companion.gguf} is a GGUF file, which no other model can be loaded with",
            hint="name the original that it was converted from",
        )
    return companion


def discard(spec: Spec) -> None:
    """Remove what unfinished downloads of the model left in the cache, unless one is under way."""
    source = parse(spec.model_id, spec.revision)
    if isinstance(source, HubModel):
        cache = RepoCache(Path(spec.cache_dir), source.repo_id)
        with contextlib.suppress(_UnderWay), exclusive(cache.lock, _give_way):
            cache.remove_partials()


class _UnderWay(Exception):
    """Another fetcher is at it, and what is unfinished is its own."""


def _give_way() -> None:
    raise _UnderWay


def _remote(
    source: HubModel,
    request: FetchRequest,
    reporter: Reporter,
    limits: Limits,
    redact: Redactor,
    companion: Companion | None,
) -> ResolvedModel:
    try:
        return RemoteFetch(source, request, reporter, limits, redact, companion).run()
    except OSError as error:
        from modeldeploy.hub.errors import from_os

        raise from_os(error, Path(request.spec.cache_dir)) from error


def _local(
    source: LocalModel | BuiltinModel, spec: Spec, reporter: Reporter, companion: Companion
) -> ResolvedModel:
    try:
        model = local.resolve(source, spec, companion)
    except OSError as error:
        raise UnsupportedModel(
            f"{error.filename or spec.model_id} cannot be read: {error.strerror or error}",
            hint="check its permissions",
        ) from error
    total = model.total_bytes
    here = "on this disk: nothing to download"
    if model.downloaded_bytes:
        here = f"on this disk; its companion: {human(model.downloaded_bytes)} downloaded"
    reporter.say(Stage.DOWNLOAD, 1.0, here, total, total)
    return model
