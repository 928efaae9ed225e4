"""Model ids are checked before any of them touches a path or a URL."""

from __future__ import annotations

from pathlib import Path

import pytest

from modeldeploy.errors import InvalidModelId
from modeldeploy.modelids import BuiltinModel, HubModel, LocalModel, Source, parse

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("model_id", "revision", "source"),
    [
        ("gpt2", None, HubModel("gpt2", "main")),
        ("org/name", None, HubModel("org/name", "main")),
        ("org/Na_me-1.5", "v1.0", HubModel("org/Na_me-1.5", "v1.0")),
        ("org/name@v2", None, HubModel("org/name", "v2")),
        ("org/name@v2", "v2", HubModel("org/name", "v2")),
        ("org/name@refs/pr/1", None, HubModel("org/name", "refs/pr/1")),
        ("name@" + COMMIT, None, HubModel("name", COMMIT)),
        ("_org/name_", None, HubModel("_org/name_", "main")),
        ("org/name:m-Q4_K_M.gguf", None, HubModel("org/name", "main", "m-Q4_K_M.gguf")),
        ("org/name@v2:a/b.GGUF", None, HubModel("org/name", "v2", "a/b.GGUF")),
        ("org/name:m.gguf", "v2", HubModel("org/name", "v2", "m.gguf")),
        ("/models/m.gguf", None, LocalModel(Path("/models/m.gguf"))),
        ("/models/mine", None, LocalModel(Path("/models/mine"))),
        ("/models/with@at and space", None, LocalModel(Path("/models/with@at and space"))),
        ("builtin/sentiment", None, BuiltinModel("sentiment")),
    ],
)
def test_well_formed(model_id: str, revision: str | None, source: Source) -> None:
    assert parse(model_id, revision) == source


@pytest.mark.parametrize(
    "model_id",
    [
        "",
        " ",
        "a b",
        "a/b/c",
        "org/",
        "/../..\0",
        "org/name\n",
        "..",
        "../x",
        "./x",
        ".",
        "~/x",
        "~user",
        "org/..",
        "../etc/passwd",
        "org/.hidden",
        "-org/name",
        "org/name-",
        "org/na..me",
        "org/na--me",
        "org/name.git",
        "org/näme",
        "org\\name",
        "org/%2e%2e",
        "org/name?x=1",
        "org/name#x",
        "org/" + "x" * 97,
        "x" * 4000,
        "org/name@",
        "org/name@../../x",
        "org/name@a..b",
        "org/name@/abs",
        "org/name@a//b",
        "org/name@a/",
        "org/name@-x",
        "org/name@.x",
        "org/name@a b",
        "org/name@main.lock",
        "org/name@a@b",
        "org/name:",
        "org/name:Q4_K_M",
        "org/name:m.safetensors",
        "org/name:/etc/x.gguf",
        "org/name:../x.gguf",
        "org/name:a//x.gguf",
        "org/name:.gguf",
        "org/name:a\\x.gguf",
        "org/name:m.gguf@v2",
        ":m.gguf",
        "http://evil.example/x.gguf",
        "http://evil.example/x",
        "file:///etc/passwd",
        "builtin/",
        "builtin/../x",
        "builtin/a/b",
        "org/name\u202e",
    ],
)
@pytest.mark.promise(23, fault="malformed model ids")
def test_malformed(model_id: str) -> None:
    with pytest.raises(InvalidModelId) as caught:
        parse(model_id)
    assert caught.value.hint
    assert len(caught.value.message) < 300


def test_two_revisions_that_differ() -> None:
    with pytest.raises(InvalidModelId, match="another"):
        parse("org/name@v1", "v2")


@pytest.mark.parametrize("model_id", ["/models/mine", "builtin/sentiment"])
def test_what_has_no_revisions(model_id: str) -> None:
    with pytest.raises(InvalidModelId, match="no revisions"):
        parse(model_id, "main")


@pytest.mark.parametrize(
    "address",
    [
        "https://huggingface.co/org/name",
        "huggingface.co/org/name/tree/main",
        "https://hf.co/org/name",
    ],
)
def test_a_pasted_web_address_gets_its_id_in_the_hint(address: str) -> None:
    with pytest.raises(InvalidModelId) as caught:
        parse(address)
    assert caught.value.hint.endswith("org/name")


def test_only_a_full_commit_is_pinned() -> None:
    assert HubModel("name", COMMIT).is_pinned
    assert not HubModel("name", COMMIT[:7]).is_pinned
    assert not HubModel("name", COMMIT.upper()).is_pinned
