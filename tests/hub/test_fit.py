"""A model that does not fit is refused before its download; a disk that fills ends it at once."""

from __future__ import annotations

import errno
import shutil
from collections import namedtuple
from dataclasses import replace
from typing import Any

import pytest

from modeldeploy import machine
from modeldeploy.errors import DiskFull, ModelTooLarge
from modeldeploy.hub import environment, fit
from modeldeploy.hub.limits import MIB
from modeldeploy.hub.resolve import resolve
from modeldeploy.hub.secrets import Redactor
from modeldeploy.hub.transfer import Partial
from modeldeploy.hub.wire import Reporter
from modeldeploy.schema.fetch import FetchLine, ResolvedModel
from tests.fakehub import FakeHub
from tests.hub.conftest import files, noise
from tests.hub.fetcher import Fetcher

_Usage = namedtuple("_Usage", "total used free")  # what shutil.disk_usage returns


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fetcher may change its own process's environment, not the tests'."""
    monkeypatch.setattr(environment, "prepare", lambda _access: None)


def fetch(fetcher: Fetcher, model_id: str = "org/model") -> ResolvedModel:
    """In this process, so that its surroundings can be pretended."""
    told: list[FetchLine] = []
    limits = replace(fetcher.limits, first_pause=0.01)
    return resolve(fetcher.request(model_id), Reporter(told.append), limits, Redactor())


def pretend_free(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: _Usage(10**12, 0, free))


@pytest.mark.promise(12, fault="less disk than the model needs")
def test_too_little_disk_is_said_before_the_download(
    fake_hub: FakeHub, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_hub.add("org/model", files(size=400_000))
    pretend_free(monkeypatch, 16 * MIB + 100_000)
    with pytest.raises(DiskFull) as caught:
        fetch(fetcher)
    assert fit.human(16 * MIB + 100_000) in caught.value.message
    assert "needs 17.2 MB" in caught.value.message
    assert "--cache-dir" in caught.value.hint
    assert fake_hub.sent("*.safetensors") == 0


def test_only_the_missing_bytes_count(
    fake_hub: FakeHub, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_hub.add("org/model", files(size=400_000))
    fetch(fetcher)
    pretend_free(monkeypatch, 0)
    assert fetch(fetcher).downloaded_bytes == 0
    fake_hub.add("org/model", files({"vocab.txt": noise(5000)}, size=400_000))
    pretend_free(monkeypatch, 16 * MIB + 6000)
    assert fetch(fetcher).downloaded_bytes == 5000


def test_a_disk_that_fills_ends_it_at_once_and_keeps_what_came(
    fake_hub: FakeHub, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_hub.add("org/model", files(size=400_000))
    write = Partial.write

    def filling(self: Partial, data: bytes) -> None:
        if self.size + len(data) > 100_000:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(self, data)

    monkeypatch.setattr(Partial, "write", filling)
    with pytest.raises(DiskFull, match="is full"):
        fetch(fetcher)
    assert len(fake_hub.asked("*.safetensors")) == 1
    sizes = [path.stat().st_size for path in fetcher.cache.rglob("*.partial")]
    assert 0 < max(sizes) <= 100_000
    monkeypatch.setattr(Partial, "write", write)
    assert fetch(fetcher).downloaded_bytes < 400_000


@pytest.mark.promise(15, fault="more weights than memory")
def test_more_weights_than_memory_are_refused_before_the_download(
    fake_hub: FakeHub, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_hub.add("org/model", files(size=400_000))
    monkeypatch.setattr(machine, "memory_total", lambda: 399_000)
    with pytest.raises(ModelTooLarge) as caught:
        fetch(fetcher)
    assert "400.0 kB" in caught.value.message
    assert "399.0 kB" in caught.value.message
    assert fake_hub.sent("*.safetensors") == 0


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (269_060_552, "269.1 MB"),
        (999_960, "1.0 MB"),
        (5e9, "5.0 GB"),
        (3e12, "3.0 TB"),
    ],
)
def test_sizes_in_words(size: Any, text: str) -> None:
    assert fit.human(size) == text
