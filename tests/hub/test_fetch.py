"""Downloads that go well: byte-true, once, into the layout that every Hub tool shares."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from modeldeploy.schema.stages import Stage
from tests.fakehub import FakeHub, etag_of
from tests.hub.conftest import config, files, needed, noise
from tests.hub.fetcher import Fetcher

WEIGHTS = "*/model*.safetensors"


def test_progress_is_byte_true_and_monotonic(fake_hub: FakeHub, fetcher: Fetcher) -> None:
    content = files(size=400_000)
    fake_hub.add("org/model", content)
    fake_hub.fault(WEIGHTS, rate=400_000)
    outcome = fetcher.run("org/model")
    done = [line.done_bytes for line in outcome.downloads]
    assert done == sorted(done)
    assert len({count for count in done if 0 < count < needed(content)}) >= 3
    assert {line.total_bytes for line in outcome.downloads} == {needed(content)}
    assert outcome.downloads[-1].done_bytes == needed(content)
    assert outcome.downloads[-1].fraction == 1.0
    for line in outcome.downloads:
        assert line.fraction == pytest.approx(line.done_bytes / line.total_bytes)
    assert all(line.total_bytes == 0 for line in outcome.progress if line.stage is Stage.VALIDATE)
    stages = [line.stage for line in outcome.progress]
    assert stages == sorted(stages, key=[Stage.VALIDATE, Stage.DOWNLOAD].index)
    assert outcome.model.downloaded_bytes == needed(content) == fake_hub.sent("*/resolve/*")


def test_progress_is_told_about_ten_times_a_second(fake_hub: FakeHub, fetcher: Fetcher) -> None:
    fake_hub.add("org/model", files(size=300_000))
    fake_hub.fault(WEIGHTS, rate=300_000)
    begun = time.monotonic()
    outcome = fetcher.run("org/model")
    assert 4 <= len(outcome.downloads) <= 10 * (time.monotonic() - begun) + 3


def test_the_result_says_what_was_fetched(fake_hub: FakeHub, fetcher: Fetcher) -> None:
    content = files()
    commit = fake_hub.add("org/model", content)
    model = fetcher.model("org/model")
    assert model.model_id == "org/model"
    assert model.commit == commit
    assert model.task == "text-generation"
    assert model.model_type == "nlp"
    assert model.architectures == ["GPT2LMHeadModel"]
    assert model.weights_bytes == len(content["model.safetensors"])
    assert model.total_bytes == needed(content)
    snapshot = Path(model.snapshot)
    assert {path.name for path in snapshot.iterdir()} == set(content) - {"README.md"}
    for path in snapshot.iterdir():
        assert path.read_bytes() == content[path.name]


def test_the_layout_is_the_hubs_own(fake_hub: FakeHub, fetcher: Fetcher) -> None:
    content = files()
    commit = fake_hub.add("org/model", content)
    fetcher.model("org/model")
    folder = fetcher.cache / "models--org--model"
    assert (folder / "refs" / "main").read_text() == commit
    pointer = folder / "snapshots" / commit / "model.safetensors"
    etag = etag_of("model.safetensors", content["model.safetensors"])
    assert str(pointer.readlink()) == f"../../blobs/{etag}"
    assert not list(folder.rglob("*.partial")) + list(folder.rglob("*.tmp"))
    script = (
        "import sys, json; from huggingface_hub import scan_cache_dir, try_to_load_from_cache;"
        "info = scan_cache_dir(sys.argv[1]); repo, = info.repos; rev, = repo.revisions;"
        "print(json.dumps([repo.repo_id, rev.commit_hash, sorted(rev.refs), rev.nb_files,"
        " [str(w) for w in info.warnings],"
        " try_to_load_from_cache('org/model', 'config.json', cache_dir=sys.argv[1])]))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", script, str(fetcher.cache)],
        check=True,
        capture_output=True,
        env=fetcher.environment(),
    )
    assert json.loads(answer.stdout) == [
        "org/model",
        commit,
        ["main"],
        4,
        [],
        str(folder / "snapshots" / commit / "config.json"),
    ]


def test_a_second_fetch_downloads_nothing_and_says_so(fake_hub: FakeHub, fetcher: Fetcher) -> None:
    content = files()
    fake_hub.add("org/model", content)
    first = fetcher.model("org/model")
    fake_hub.forget()
    outcome = fetcher.run("org/model")
    assert outcome.model.downloaded_bytes == 0
    assert outcome.model.snapshot == first.snapshot
    assert fake_hub.sent("*/resolve/*") == 0
    assert len(fake_hub.requests) == 1
    assert [line.done_bytes for line in outcome.downloads] == [needed(content)]
    assert "cached" in outcome.downloads[-1].message


def test_a_pinned_commit_that_is_cached_makes_no_request(
    fake_hub: FakeHub, fetcher: Fetcher
) -> None:
    commit = fake_hub.add("org/model", files())
    fetcher.model("org/model")
    fake_hub.forget()
    model = fetcher.model("org/model", revision=commit)
    assert model.commit == commit
    assert fake_hub.requests == []


def test_only_what_is_needed_is_fetched_and_never_two_formats(
    fake_hub: FakeHub, fetcher: Fetcher
) -> None:
    needless = {
        "pytorch_model.bin": noise(1000, 1),
        "tf_model.h5": noise(1000, 2),
        "flax_model.msgpack": noise(1000, 3),
        "model.fp16.safetensors": noise(1000, 4),
        "onnx/model.onnx": noise(1000, 5),
        "onnx/config.json": b"{}",
        "optimizer.pt": noise(1000, 6),
        "trainer_state.json": b"{}",
        "modeling_own.py": b"",
        ".gitattributes": b"",
    }
    wanted = {
        "chat_template.jinja": b"{{ x }}",
        "spiece.model": b"sp",
        "additional_chat_templates/tools.jinja": b"{{ y }}",
        "modules.json": b"[]",
        "1_Pooling/config.json": b'{"pooling": 1}',
        "2_Dense/config.json": b'{"dense": 1}',
        "2_Dense/model.safetensors": noise(500, 7),
    }
    fake_hub.add("org/model", files() | needless | wanted)
    snapshot = Path(fetcher.model("org/model").snapshot)
    found = {p.relative_to(snapshot).as_posix() for p in snapshot.rglob("*") if p.is_file()}
    assert found == (set(files()) - {"README.md"}) | set(wanted)


@pytest.mark.promise(14, fault="a repository that has code of its own")
def test_code_of_the_repository_comes_only_with_the_opt_in(
    fake_hub: FakeHub, fetcher: Fetcher
) -> None:
    fake_hub.add("org/model", files({"modeling_own.py": b"print()"}))
    assert not (Path(fetcher.model("org/model").snapshot) / "modeling_own.py").exists()
    trusted = fetcher.model("org/model", trust_remote_code=True)
    assert (Path(trusted.snapshot) / "modeling_own.py").read_bytes() == b"print()"


def test_sharded_weights_come_by_their_index(fake_hub: FakeHub, fetcher: Fetcher) -> None:
    content = files()
    del content["model.safetensors"]
    shards = {f"model-0000{n}-of-00002.safetensors": noise(100_000, n) for n in (1, 2)}
    index = {"weight_map": {f"layer.{n}": name for n, name in enumerate(shards)}}
    content |= shards
    content["model.safetensors.index.json"] = json.dumps(index).encode()
    fake_hub.add("org/model", content | {"model-00003-of-00003.safetensors": noise(9000, 3)})
    model = fetcher.model("org/model")
    assert model.weights_bytes == 200_000
    names = {path.name for path in Path(model.snapshot).iterdir()}
    assert names == set(content) - {"README.md"}


def test_a_shard_that_is_missing_is_said_before_the_download(
    fake_hub: FakeHub, fetcher: Fetcher
) -> None:
    index = {"weight_map": {"a": "model-00001-of-00001.safetensors"}}
    fake_hub.add(
        "org/model",
        {"config.json": config(), "model.safetensors.index.json": json.dumps(index).encode()},
    )
    problem = fetcher.problem("org/model")
    assert problem.code == "unsupported_model"
    assert "model-00001-of-00001.safetensors" in problem.message


@pytest.mark.parametrize("form", ["org/model@v2", "org/model"])
def test_another_revision(fake_hub: FakeHub, fetcher: Fetcher, form: str) -> None:
    fake_hub.add("org/model", files())
    other = fake_hub.add("org/model", files(size=50_000), revision="v2")
    model = fetcher.model(form, revision="v2")
    assert model.commit == other
    assert model.weights_bytes == 50_000
    assert (fetcher.cache / "models--org--model" / "refs" / "v2").read_text() == other


def test_a_branch_with_a_slash(fake_hub: FakeHub, fetcher: Fetcher) -> None:
    commit = fake_hub.add("org/model", files(), revision="refs/pr/1")
    assert fetcher.model("org/model", revision="refs/pr/1").commit == commit
    assert (fetcher.cache / "models--org--model/refs/refs/pr/1").read_text() == commit


def test_a_new_commit_fetches_only_what_changed(fake_hub: FakeHub, fetcher: Fetcher) -> None:
    fake_hub.add("org/model", files())
    fetcher.model("org/model")
    fake_hub.add("org/model", files({"vocab.txt": b"other\n"}))
    assert fetcher.model("org/model").downloaded_bytes == len(b"other\n")


def test_an_id_of_one_segment(fake_hub: FakeHub, fetcher: Fetcher) -> None:
    fake_hub.add("gpt2", files())
    assert "/models--gpt2/" in fetcher.model("gpt2").snapshot


def test_equal_files_are_fetched_once(fake_hub: FakeHub, fetcher: Fetcher) -> None:
    content = files(
        {"added_tokens.json": b"{}", "special_tokens_map.json": b"{}", "empty.txt": b""}
    )
    fake_hub.add("org/model", content)
    outcome = fetcher.run("org/model")
    assert outcome.model.downloaded_bytes == needed(content) - 2
    assert outcome.downloads[-1].done_bytes == outcome.model.total_bytes == needed(content) - 2
    snapshot = Path(outcome.model.snapshot)
    assert (snapshot / "special_tokens_map.json").read_bytes() == b"{}"
    assert (snapshot / "empty.txt").read_bytes() == b""


def test_large_files_from_another_origin(fake_hub: FakeHub, fetcher: Fetcher) -> None:
    content = files()
    fake_hub.add("org/model", content)
    fake_hub.redirects_lfs = True
    fetcher.token = "hf_known"
    assert fetcher.model("org/model").downloaded_bytes == needed(content)
    by_origin = {request.origin: request.authorization for request in fake_hub.requests}
    assert by_origin == {"hub": "Bearer hf_known", "cdn": None}


def test_a_hub_whose_info_has_no_sizes(fake_hub: FakeHub, fetcher: Fetcher) -> None:
    content = files()
    fake_hub.add("org/model", content)
    fake_hub.without_blobs = True
    assert fetcher.model("org/model").downloaded_bytes == needed(content)
    assert len(fake_hub.asked("*/tree/*")) == 1


@pytest.mark.promise(6, fault="two downloads of one model at once")
def test_two_fetchers_of_one_model_download_it_once(fake_hub: FakeHub, fetcher: Fetcher) -> None:
    content = files()
    fake_hub.add("org/model", content)
    fake_hub.fault(WEIGHTS, rate=400_000)
    with fetcher.start("org/model") as first:
        first.wait_for_bytes(1000)
        with fetcher.start("org/model") as second:
            second.wait_for("waiting for another download")
            outcomes = [first.finish(), second.finish()]
    assert [outcome.model.downloaded_bytes for outcome in outcomes] == [needed(content), 0]
    assert fake_hub.sent("*/resolve/*") == needed(content)


def test_a_private_model_with_its_token(fake_hub: FakeHub, fetcher: Fetcher) -> None:
    fake_hub.add("org/private", files(), private=True)
    fake_hub.add("org/gated", files(), gated=True)
    fetcher.token = "hf_admitted"
    fetcher.model("org/private")
    fetcher.model("org/gated")


def test_the_stored_token_is_found(fake_hub: FakeHub, fetcher: Fetcher) -> None:
    fake_hub.add("org/private", files(), private=True)
    fetcher.env = {"HF_TOKEN": "hf_admitted"}
    fetcher.model("org/private")


def test_a_model_without_weights_for_the_echo_task(fake_hub: FakeHub, fetcher: Fetcher) -> None:
    fake_hub.add("org/echo", {"config.json": config("Echo", "echo")})
    model = fetcher.model("org/echo")
    assert (model.task, model.weights_bytes) == ("echo", 0)
