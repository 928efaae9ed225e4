"""The loopback Hub against the real huggingface_hub: what passes here is what the Hub speaks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakehub import FakeHub, fake_hub

__all__ = ["fake_hub"]

FILES = {
    "config.json": b'{"model_type": "gpt2"}',
    "model.safetensors": b"\x01" * 50_000,
    "sub/notes.txt": b"notes",
}


def ask(hub: FakeHub, home: Path, code: str, token: str = "") -> str:
    """Run ``code`` in a process whose Hub is ``hub``; what it printed, or its error's name."""
    script = (
        "import json, sys\nfrom huggingface_hub import *\nfrom huggingface_hub.errors import *\n"
        f"try:\n    print({code})\nexcept Exception as error:\n    print(type(error).__name__)\n"
    )
    kept = {"PATH": os.environ["PATH"], "NO_PROXY": "127.0.0.1", "HF_HUB_DISABLE_XET": "1"}
    env = kept | {"HOME": str(home), "HF_ENDPOINT": hub.endpoint, "HF_TOKEN": token}
    answer = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, env=env
    )
    return answer.stdout.decode().strip()


@pytest.mark.parametrize("redirects", [False, True])
def test_a_snapshot_as_huggingface_hub_takes_it(
    fake_hub: FakeHub, tmp_path: Path, redirects: bool
) -> None:
    commit = fake_hub.add("org/model", FILES)
    fake_hub.redirects_lfs = redirects
    found = Path(ask(fake_hub, tmp_path, "snapshot_download('org/model')"))
    assert found.name == commit
    for name, content in FILES.items():
        assert (found / name).read_bytes() == content


def test_infos(fake_hub: FakeHub, tmp_path: Path) -> None:
    commit = fake_hub.add("gpt2", FILES, pipeline_tag="text-generation")
    code = (
        "(lambda i: json.dumps([i.sha, i.pipeline_tag, i.gated,"
        " {s.rfilename: s.size for s in i.siblings}]))(model_info('gpt2', files_metadata=True))"
    )
    sizes = {name: len(content) for name, content in FILES.items()}
    assert json.loads(ask(fake_hub, tmp_path, code)) == [commit, "text-generation", False, sizes]


@pytest.mark.parametrize(
    ("code", "token", "error"),
    [
        ("model_info('org/none')", "", "RepositoryNotFoundError"),
        ("model_info('org/private')", "", "RepositoryNotFoundError"),
        ("model_info('org/private')", "hf_known", "RepositoryNotFoundError"),
        ("model_info('org/private').id", "hf_admitted", "org/private"),
        ("model_info('org/model')", "hf_wrong", "HfHubHTTPError"),
        ("model_info('org/model', revision='none')", "", "RevisionNotFoundError"),
        ("hf_hub_download('org/model', 'none')", "", "RemoteEntryNotFoundError"),
        ("hf_hub_download('org/gated', 'config.json')", "", "GatedRepoError"),
        ("model_info('org/gated').gated", "", "manual"),
    ],
)
def test_refusals(fake_hub: FakeHub, tmp_path: Path, code: str, token: str, error: str) -> None:
    fake_hub.add("org/model", FILES)
    fake_hub.add("org/private", FILES, private=True)
    fake_hub.add("org/gated", FILES, gated=True)
    assert ask(fake_hub, tmp_path, code, token) == error


def test_commits_are_named_by_their_content() -> None:
    with FakeHub() as one, FakeHub() as two:
        assert one.add("a/b", FILES) == two.add("a/b", FILES) != one.add("a/c", FILES)
        assert one.add("a/b", FILES | {"x": b""}, revision="v2") != one.repos["a/b"].resolve("main")


def test_it_counts_what_it_sends(fake_hub: FakeHub, tmp_path: Path) -> None:
    fake_hub.add("org/model", FILES)
    ask(fake_hub, tmp_path, "snapshot_download('org/model')")
    assert fake_hub.sent("*/resolve/*") == sum(map(len, FILES.values()))
    assert len(fake_hub.asked("*/model.safetensors", "GET")) == 1
