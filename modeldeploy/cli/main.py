"""The command ``modeldeploy``: its table of verbs, and the one boundary where errors become words."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from modeldeploy import __version__
from modeldeploy.cli import output
from modeldeploy.cli.lazy import Entry, LazyGroup
from modeldeploy.errors import ModelDeployError, UsageError

_ROOM = "modeldeploy.cli"
_MODELS, _LOOK, _DAEMON = "Deploy", "Look and ask", "Supervisor"
INTERRUPTED = 130
_BUG_LINES = 8

ENTRIES = {
    "deploy": Entry(f"{_ROOM}.deploy:deploy", "From a model id to an HTTP endpoint.", _MODELS),
    "start": Entry(f"{_ROOM}.lifecycle:start", "Start what is stopped or has failed.", _MODELS),
    "stop": Entry(f"{_ROOM}.lifecycle:stop", "Answer what was accepted, then stop.", _MODELS),
    "restart": Entry(f"{_ROOM}.lifecycle:restart", "Begin a fresh run on the same port.", _MODELS),
    "rm": Entry(f"{_ROOM}.lifecycle:rm", "Forget deployments (models stay cached).", _MODELS),
    "wait": Entry(f"{_ROOM}.lifecycle:wait", "Re-attach until a deployment is ready.", _MODELS),
    "ls": Entry(f"{_ROOM}.listing:ls", "List deployments (also: ps).", _LOOK),
    "ps": Entry(f"{_ROOM}.listing:ls", "List deployments.", _LOOK, hidden=True),
    "inspect": Entry(f"{_ROOM}.listing:inspect", "All about deployments, as JSON.", _LOOK),
    "logs": Entry(f"{_ROOM}.logs:logs", "What a deployment's worker wrote.", _LOOK),
    "predict": Entry(f"{_ROOM}.predict:predict", "Ask a deployment for a prediction.", _LOOK),
    "bench": Entry(f"{_ROOM}.bench:bench", "How fast a deployment answers.", _LOOK),
    "dashboard": Entry(
        f"{_ROOM}.dashboard:dashboard", "Everything on a page, in the browser.", _LOOK
    ),
    "keys": Entry(f"{_ROOM}.keys:keys", "Who may ask a deployment.", _MODELS),
    "daemon": Entry(f"{_ROOM}.daemon:daemon", "Start, stop and watch the supervisor.", _DAEMON),
}

_EPILOG = "modeldeploy COMMAND --help tells more. Start with: modeldeploy deploy builtin/sentiment"


@click.group(
    cls=LazyGroup,
    entries=ENTRIES,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, "--version", message="modeldeploy %(version)s")
def cli() -> None:
    """One command from a Hugging Face model id to an HTTP endpoint on your own machine."""


def main(args: Sequence[str] | None = None) -> int:
    """Run one command; answers with its exit code.

    0 done, 1 failed, 2 wrong usage, 3 the deployment failed, 4 no supervisor, 130 interrupted.
    """
    typed = list(sys.argv[1:] if args is None else args)
    output.begin(as_json="--json" in (typed[: typed.index("--")] if "--" in typed else typed))
    try:
        code = cli.main(typed or ["--help"], prog_name="modeldeploy", standalone_mode=False)
        sys.stdout.flush()
    except ModelDeployError as error:
        output.problem(error.problem())
        return error.exit_code
    except click.ClickException as error:
        output.problem(_usage(error).problem())
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        output.note("interrupted")
        return INTERRUPTED
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:  # a disk that is full, a directory of somebody else's
        output.problem(ModelDeployError(str(error)).problem())
        return ModelDeployError.exit_code
    except Exception as error:  # a bug of ours: told as one, also where JSON was asked for
        output.problem(_bug(error).problem())
        return ModelDeployError.exit_code
    return code if isinstance(code, int) else 0


def _bug(error: Exception) -> ModelDeployError:
    import traceback

    lines = "".join(traceback.format_exception(error)).splitlines()
    return ModelDeployError(
        f"unexpected: {type(error).__name__}: {error}",
        hint="this is a bug in modeldeploy: please report it with the lines above",
        details=tuple(lines[-_BUG_LINES:]),
    )


def _usage(error: click.ClickException) -> UsageError:
    ctx = getattr(error, "ctx", None)
    path = ctx.command_path if ctx else "modeldeploy"
    message = error.format_message().rstrip(".")
    return UsageError(message[:1].lower() + message[1:], hint=f"see {path} --help")
