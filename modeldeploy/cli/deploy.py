"""``deploy``: from a model id to an endpoint, with its progress on screen."""

from __future__ import annotations

from typing import Any, get_args

import click
import msgspec

from modeldeploy import apikeys, paths, settings
from modeldeploy.cli import deployfile, follow, options, output, secrets
from modeldeploy.cli.model import parse_model
from modeldeploy.cli.session import connect
from modeldeploy.client import hub_access
from modeldeploy.errors import InvalidRequest
from modeldeploy.schema.computing import Backend, Batching
from modeldeploy.schema.deployment import Deployment, DeployRequest, Spec
from modeldeploy.schema.keys import NewKey
from modeldeploy.settings import DTYPES, Settings
from modeldeploy.transport import is_loopback

_EPILOG = """\b
MODEL is one of
  gpt2, org/name       a model of the Hugging Face Hub
  org/name@revision    at a branch, tag or commit
  ./my-model           a directory
  builtin/sentiment    a model that comes with modeldeploy (also: builtin/digits)
"""


@click.command(short_help="From a model id to an HTTP endpoint.", epilog=_EPILOG)
@click.argument("model", required=False)
@click.option("--name", help="The deployment's name.  [default: the model's, made unique]")
@click.option("--task", help="What it does, such as text-classification.  [default: found out]")
@click.option(
    "--type",
    "model_type",
    type=click.Choice(["nlp", "vision", "audio", "multimodal"]),
    help="The kind of model, to check what was found out.",
)
@click.option("--revision", help="A branch, tag or commit of the model.")
@click.option("--device", metavar="[auto|cpu|cuda|cuda:N|mps]", callback=options.check_device)
@click.option("--dtype", type=click.Choice(DTYPES), help="The precision it runs in.")
@click.option("--port", type=click.IntRange(1, 65535), help="A port of its own.")
@click.option(
    "--host",
    metavar="ADDRESS",
    help="The address to bind; other machines may ask there, with a key.  [default: 127.0.0.1]",
)
@click.option(
    "--ssl-certfile", metavar="FILE", help="Speak TLS: a certificate, its chain behind it."
)
@click.option("--ssl-keyfile", metavar="FILE", help="The certificate's key, without a passphrase.")
@click.option("--cache-dir", help="Where models are kept.  [default: the Hub's own cache]")
@click.option("--trust-remote-code", is_flag=True, help="Run code from the model's repository.")
@click.option("--allow-pickle", is_flag=True, help="Load weights that can run code.")
@click.option(
    "--api-key",
    "api_key",
    multiple=True,
    metavar="SOURCE",
    help=f"Answer only who sends a key; may be given again. {secrets.HELP}",
)
@click.option(
    "--allow-origin",
    "allow_origin",
    multiple=True,
    metavar="ORIGIN",
    help="Let pages of http://host:port ask from a browser; may be given again.",
)
@click.option(
    "--allow-media-url",
    "allow_media_url",
    multiple=True,
    metavar="HOST",
    help="Let requests name images, sounds and videos at http(s)://HOST; may be given again.",
)
@click.option(
    "--optimize",
    "optimize",
    flag_value="close",
    help="Compute in a lower precision where it is faster and close; /info tells how far results are.",
)
@click.option(
    "--no-optimize",
    "optimize",
    flag_value="no",
    help="The model's own forward in plain torch: nothing packed, captured or made a graph of. "
    "Requests share calls all the same.",
)
@click.option(
    "--backend",
    type=click.Choice(get_args(Backend)),
    help="What computes: torch, or a graph in ONNX Runtime or OpenVINO.  [default: auto, the "
    "fastest of torch and ONNX Runtime]",
)
@click.option(
    "--max-batch-size",
    type=click.IntRange(1, 4096),
    help="At most so many inputs in one call.  [default: by the task, 4 to 64]",
)
@click.option(
    "--max-batch-tokens",
    type=click.IntRange(1, 10**6),
    help="Tokens of one call, for models that read texts; others refuse it.  [default: measured]",
)
@click.option(
    "--batch-window",
    type=click.FloatRange(0, 10),
    metavar="SECONDS",
    help="How long a call that is not full waits for company; texts are written on a running "
    "batch, which waits for nobody.  [default: not at all]",
)
@click.option(
    "--threads",
    type=click.IntRange(1, 1024),
    help="CPU threads it computes with.  [default: its share of the cores, of busy deployments]",
)
@click.option(
    "--memory",
    callback=options.read_size,
    metavar="SIZE",
    help="What its worker may take, such as 2G, mapped weights not counted; past it, it is replaced.",
)
@click.option(
    "--python",
    callback=options.read_interpreter,
    metavar="PATH",
    help="The interpreter it runs in, or the virtual environment, which has the same modeldeploy "
    "installed.  [default: modeldeploy's own]",
)
@click.option(
    "--env",
    multiple=True,
    callback=options.read_variables,
    metavar="NAME=VALUE",
    help="A variable of its worker's environment, which inspect shows; may be given again. With either "
    "of these its workers start without what the supervisor has imported ahead.",
)
@click.option("--file", "file", type=click.Path(), help="Read all of this from a JSON file.")
@options.detach
@options.timeout
@options.json_output
def deploy(file: str | None, **typed: Any) -> None:
    """From a model id to an HTTP endpoint."""
    given = {key: value for key, value in typed.items() if value not in (None, False, ())}
    wanted = deployfile.read(file).over(given) if file else deployfile.Wanted(**given)
    values = settings.load(wanted.flags())
    keys = [secrets.key_from(source, values) for source in wanted.api_key]
    request = _request(wanted, values, [key for key, _ in keys])
    client = connect(values)
    deployment = client.deploy(request)
    if not (deployment.spec.ssl_certfile or is_loopback(deployment.spec.host)):
        output.warn(
            "keys and requests cross the network in the clear; --ssl-certfile encrypts them"
        )
    for key, is_new in keys:
        if is_new:
            output.note(f"API key, shown this once: {key}")
    if wanted.detach:
        _detached(deployment)
        return
    follow.until_ready(client, deployment.name, wanted.timeout)


def _request(wanted: deployfile.Wanted, values: Settings, keys: list[str]) -> DeployRequest:
    if wanted.model is None:
        raise click.UsageError("missing MODEL: a model id, a directory, or builtin/sentiment")
    model_id, revision = parse_model(wanted.model, wanted.revision)
    request = DeployRequest(
        name=None if wanted.name is None else paths.check_name(wanted.name),
        hub=hub_access(values),
        keys=tuple(NewKey(digest=apikeys.digest_of(key)) for key in keys),
        spec=Spec(
            model_id=model_id,
            revision=revision,
            task=wanted.task,
            model_type=wanted.model_type,
            device=values.device,
            dtype=values.dtype,  # type: ignore[arg-type] # checked below, with all the others
            port=wanted.port,
            host=wanted.host or "127.0.0.1",
            ssl_certfile=_absolute(wanted.ssl_certfile),
            ssl_keyfile=_absolute(wanted.ssl_keyfile),
            cache_dir=str(settings.hub_cache(values)),
            trust_remote_code=wanted.trust_remote_code,
            allow_pickle=wanted.allow_pickle,
            force_gpu=values.force_gpu,
            download_timeout=values.max_download_timeout,
            allow_origins=values.allow_origins,
            allow_media_urls=values.allow_media_urls,
            optimize=wanted.optimize,
            backend=wanted.backend,
            batching=Batching(
                max_size=wanted.max_batch_size,
                max_tokens=wanted.max_batch_tokens,
                window=wanted.batch_window,
            ),
            threads=wanted.threads,
            memory=wanted.memory,
            python=wanted.python,
            env=wanted.env,
        ),
    )
    try:
        return msgspec.convert(msgspec.to_builtins(request), DeployRequest)
    except msgspec.ValidationError as error:
        raise InvalidRequest(str(error), hint="see modeldeploy deploy --help") from error


def _absolute(path: str | None) -> str | None:
    return str(paths.expand(path)) if path else None


def _detached(deployment: Deployment) -> None:
    if output.as_json():
        output.json(deployment)
        return
    output.data(deployment.name)
    output.aside(f"modeldeploy wait {deployment.name} shows how it goes")
