"""What MODEL means: a Hub id, one with a revision or a GGUF file, a directory, a model of ours."""

from __future__ import annotations

from pathlib import Path

from modeldeploy.cli import output
from modeldeploy.errors import UsageError
from modeldeploy.modelids import is_gguf
from modeldeploy.paths import expand

_HERE = ("/", "./", "../", "~")


def parse_model(model: str, revision: str | None) -> tuple[str, str | None]:
    """The id (a directory or a GGUF file as an absolute path) and the revision.

    A directory is named as a path, so that ``gpt2`` never means a folder that happens to be
    here.

    Raises:
        UsageError: two different revisions.
    """
    if is_path(model):
        return str(expand(model)), revision
    named, colon, file = model.partition(":")
    model_id, _, after = named.partition("@")
    if after and revision and after != revision:
        raise UsageError(
            f"two revisions: {after!r} in the model, {revision!r} in --revision", hint="give one"
        )
    if Path(model_id).is_dir():
        output.aside(f"taking {model_id} for a model id; ./{model_id} is the directory here")
    return f"{model_id}{colon}{file}", after or revision


def is_path(model: str) -> bool:
    marked = model in {".", ".."} or model.startswith(_HERE) or model.endswith("/")
    if marked or (is_gguf(model) and Path(model).is_file()):
        return True
    return model.count("/") > 1 and Path(model).exists()
