"""Typed errors: each has a stable code, says what happened, and ends with what to do next.

Code raises them and lets them fly; the boundaries (the command line's ``main``, one ASGI
exception handler per app, the reconcile loop) turn them into words or into a
:class:`~modeldeploy.schema.problem.Problem` on the wire.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from modeldeploy.schema.problem import Crowd, Problem


class ModelDeployError(Exception):
    """Base of every error a user may see.

    ``code`` is stable across releases, ``status`` is the HTTP status it answers with,
    ``exit_code`` what the command line ends with.
    """

    code: str = "internal_error"
    status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1
    retry_after: int | None = None  # seconds, where an answer over HTTP should name them

    def __init__(self, message: str, hint: str = "", details: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = details

    def problem(self) -> Problem:
        """The error as it crosses a process boundary."""
        return Problem(
            code=self.code, message=self.message, hint=self.hint, details=list(self.details)
        )


class UsageError(ModelDeployError):
    code, status, exit_code = "usage", 400, 2


class InvalidName(UsageError):
    code, status = "invalid_name", 422


class InvalidModelId(UsageError):
    code, status = "invalid_model_id", 422


class UnknownTask(UsageError):
    """A task that is not served was asked for."""

    code, status = "unknown_task", 422


class InvalidSetting(UsageError):
    code, status = "invalid_setting", 422


class InvalidCertificate(UsageError):
    code, status = "invalid_certificate", 422


class ApiKeyNeeded(UsageError):
    """Other machines could ask a deployment that has no key."""

    code, status = "api_key_needed", 422


class InvalidRequest(ModelDeployError):
    """A body that is not what the schema asks for; the message names the field."""

    code, status, exit_code = "invalid_request", 422, 2


class MalformedRequest(InvalidRequest):
    """What came is not HTTP."""

    code, status = "malformed_request", 400


class MalformedBody(InvalidRequest):
    code, status = "malformed_body", 400


class UnsupportedMediaType(InvalidRequest):
    code, status = "unsupported_media_type", 415


class BodyTooLarge(InvalidRequest):
    code, status = "body_too_large", 413


class SlowBody(InvalidRequest):
    """The request's body did not arrive in time."""

    code, status = "request_body_timeout", 408


class InputTooLong(InvalidRequest):
    code = "input_too_long"


class UrlNotAllowed(InvalidRequest):
    code = "media_url_not_allowed"


class Forbidden(ModelDeployError):
    code, status = "forbidden", 403


class MisdirectedRequest(ModelDeployError):
    code, status = "misdirected_request", 421


class NotFound(ModelDeployError):
    code, status = "not_found", 404


class MethodNotAllowed(ModelDeployError):
    """``allow`` are the methods that the path does answer."""

    code, status = "method_not_allowed", 405
    allow: Sequence[str] = ()


class NotAcceptable(ModelDeployError):
    """What the client accepts is nothing that is answered here."""

    code, status = "not_acceptable", 406


class DeploymentNotFound(ModelDeployError):
    code, status = "deployment_not_found", 404


class KeyNotFound(ModelDeployError):
    code, status = "key_not_found", 404


class NameTaken(ModelDeployError):
    code, status = "name_taken", 409


class Conflict(ModelDeployError):
    """The command does not fit the deployment's present state."""

    code, status = "conflict", 409


class PortTaken(ModelDeployError):
    code, status = "port_taken", 409


class NoFreePort(ModelDeployError):
    code, status = "no_free_port", 409


class DeviceUnavailable(ModelDeployError):
    code, status = "device_unavailable", 422


class StateUnreadable(ModelDeployError):
    code = "state_unreadable"


class QueueFull(ModelDeployError):
    """``crowd`` is who was there already, where requests are counted."""

    code, status = "queue_full", 429
    crowd: Crowd | None = None


class NotReady(ModelDeployError):
    code, status = "not_ready", 503


class UpstreamFailed(ModelDeployError):
    """A deployment broke off before it had answered what the gateway passed on to it."""

    code, status = "upstream_failed", 502


class GatewayUnavailable(ModelDeployError):
    """There is no front door, or it does not answer."""

    code, status = "gateway_unavailable", 503


class Unauthorized(ModelDeployError):
    code, status = "unauthorized", 401


class InvalidApiKey(Unauthorized):
    code = "invalid_api_key"


class ShuttingDown(NotReady):
    """The deployment ends, and this request was not done within its drain deadline."""

    code = "shutting_down"


class RequestTimeout(ModelDeployError):
    code, status = "request_timeout", 504


class PredictionFailed(ModelDeployError):
    """The model itself raised on a valid input."""

    code = "prediction_failed"


class DaemonUnreachable(ModelDeployError):
    code, status, exit_code = "daemon_unreachable", 503, 4


class DaemonSilent(DaemonUnreachable):
    """It is there and says nothing: it was stopped, or it hangs."""


class DaemonElsewhere(DaemonUnreachable):
    """It is in another container, out of reach of signals."""


class DeploymentFailed(ModelDeployError):
    """A deployment that ended in FAILED; the message is its cause."""

    code, status, exit_code = "deployment_failed", 500, 3


class WaitTimeout(ModelDeployError):
    code, status = "wait_timeout", 504


class ModelError(DeploymentFailed):
    """Something about the model itself: trying again without a change will not help."""

    code, status = "model_error", 422


class UnsupportedModel(ModelError):
    code = "unsupported_model"


class AmbiguousTask(ModelError):
    code = "ambiguous_task"


class UnsupportedTask(ModelError):
    code = "unsupported_task"


class WrongTask(ModelError):
    """The checkpoint has no weights for this task's head, or has been trained with another."""

    code = "wrong_task"


class UnsafeWeights(ModelError):
    code = "unsafe_weights"


class RemoteCodeRefused(ModelError):
    code = "remote_code_refused"


class ModelTooLarge(ModelError):
    code = "model_too_large"


class InterpreterUnfit(DeploymentFailed):
    """The interpreter that a deployment asked for cannot run its worker."""

    code, status = "interpreter_unfit", 422


class DownloadError(DeploymentFailed):
    """Something about getting the model: a later try may well succeed."""

    code, status = "download_failed", 502


class ModelNotFound(DownloadError):
    code, status = "model_not_found", 404


class RevisionNotFound(DownloadError):
    code, status = "revision_not_found", 404


class GatedModel(DownloadError):
    code, status = "gated_model", 403


class HubUnauthorized(DownloadError):
    code, status = "hub_unauthorized", 401


class HubRateLimited(DownloadError):
    code, status = "hub_rate_limited", 429


class HubUnavailable(DownloadError):
    code, status = "hub_unavailable", 502


class NoNetwork(DownloadError):
    code, status = "no_network", 502


class DownloadTimeout(DownloadError):
    code, status = "download_timeout", 504


class CorruptDownload(DownloadError):
    code = "corrupt_download"


class DiskFull(DownloadError):
    code, status = "disk_full", 507


class WorkerDied(DeploymentFailed):
    code = "worker_died"


class OutOfMemory(DeploymentFailed):
    """A worker took more than its deployment allows."""

    code = "out_of_memory"


class StartTimeout(DeploymentFailed):
    code = "start_timeout"


def _by_code(root: type[ModelDeployError]) -> dict[str, type[ModelDeployError]]:
    table = {root.code: root}
    for child in root.__subclasses__():
        table.update(_by_code(child))
    return table


def from_problem(problem: Problem) -> ModelDeployError:
    """The typed error a problem from another process stands for."""
    kind = _by_code(ModelDeployError).get(problem.code, ModelDeployError)
    error = kind(problem.message, problem.hint, tuple(problem.details))
    error.code = problem.code  # also where a newer version knows a code that we do not
    return error
