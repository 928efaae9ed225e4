from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modeldeploy import settings
from modeldeploy.errors import InvalidSetting
from modeldeploy.settings import TABLE, hub_cache


def load(
    tmp_path: Path, flags: dict[str, Any] | None = None, /, **environ: str
) -> settings.Settings:
    given = {"MODELDEPLOY_HOME": str(tmp_path / "home"), **environ}
    return settings.load(flags, given, tmp_path)


def write_config(tmp_path: Path, text: str) -> None:
    file = tmp_path / "home" / "config" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text(text)


def test_flag_then_environment_then_dotenv_then_config_then_default(tmp_path: Path) -> None:
    assert load(tmp_path).dtype == "auto"
    write_config(tmp_path, 'dtype = "float32"\nforce_gpu = true\nlog_files = 7\n')
    assert load(tmp_path).dtype == "float32"
    assert load(tmp_path).force_gpu is True
    assert load(tmp_path).log_files == 7
    (tmp_path / ".env").write_text("MODELDEPLOY_DTYPE=float16\n")
    assert load(tmp_path).dtype == "float16"
    assert load(tmp_path, MODELDEPLOY_DTYPE="bfloat16").dtype == "bfloat16"
    flags = {"dtype": "auto", "device": None}
    assert load(tmp_path, flags, MODELDEPLOY_DTYPE="bfloat16").dtype == "auto"


def test_origins_are_a_list_in_any_form(tmp_path: Path) -> None:
    both = ("http://localhost:3000", "https://app.example")
    assert load(tmp_path).allow_origins == ()
    write_config(tmp_path, f"allow_origins = {list(both)}\n")
    assert load(tmp_path).allow_origins == both
    raw = "https://App.example/ , http://localhost:3000,,https://app.example"
    assert load(tmp_path, MODELDEPLOY_ALLOW_ORIGINS=raw).allow_origins == both[::-1]


def test_so_are_hosts_of_media(tmp_path: Path) -> None:
    assert load(tmp_path).allow_media_urls == ()
    raw = "Images.example,localhost:9000, [::1]:80"
    assert load(tmp_path, MODELDEPLOY_ALLOW_MEDIA_URLS=raw).allow_media_urls == (
        "images.example",
        "localhost:9000",
        "[::1]:80",
    )
    with pytest.raises(InvalidSetting):
        load(tmp_path, MODELDEPLOY_ALLOW_MEDIA_URLS="https://images.example/")


def test_an_empty_variable_is_not_set(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("MODELDEPLOY_DTYPE=float16\n")
    assert load(tmp_path, MODELDEPLOY_DTYPE="").dtype == "float16"


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("MODELDEPLOY_PORT_RANGE", "8200-8100"),
        ("MODELDEPLOY_PORT_RANGE", "http"),
        ("MODELDEPLOY_PORT_RANGE", "0-70000"),
        ("MAX_DOWNLOAD_TIMEOUT", "-1"),
        ("MAX_DOWNLOAD_TIMEOUT", "nan"),
        ("MAX_DOWNLOAD_TIMEOUT", "soon"),
        ("MODELDEPLOY_HEARTBEAT_TIMEOUT", "0.5"),
        ("FORCE_GPU", "maybe"),
        ("MODELDEPLOY_DEVICE", "tpu"),
        ("MODELDEPLOY_MAX_QUEUE", "0"),
        ("MODELDEPLOY_ALLOW_ORIGINS", "*"),
        ("MODELDEPLOY_ALLOW_ORIGINS", "null"),
        ("MODELDEPLOY_ALLOW_ORIGINS", "localhost:3000"),
        ("MODELDEPLOY_ALLOW_ORIGINS", "http://a.example,http://b.example/page"),
    ],
)
def test_a_bad_value_names_its_source(tmp_path: Path, name: str, raw: str) -> None:
    with pytest.raises(InvalidSetting, match=name) as caught:
        load(tmp_path, **{name: raw})
    assert caught.value.exit_code == 2
    assert caught.value.hint


def test_a_bad_flag_and_a_bad_config_name_themselves(tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting, match="--dtype"):
        load(tmp_path, {"dtype": "int8"})
    write_config(tmp_path, 'dtype = "int8"')
    with pytest.raises(InvalidSetting, match=r"config\.toml"):
        load(tmp_path)


@pytest.mark.parametrize("text", ["dtyp = 1", "dtype =", 'home = "/x"', "\x00"])
def test_a_config_that_means_nothing_is_refused(tmp_path: Path, text: str) -> None:
    write_config(tmp_path, text)
    with pytest.raises(InvalidSetting, match=r"config\.toml"):
        load(tmp_path)


def test_the_users_own_names_work(tmp_path: Path) -> None:
    found = load(tmp_path, MAX_DOWNLOAD_TIMEOUT="60", FORCE_GPU="true")
    assert (found.max_download_timeout, found.force_gpu) == (60.0, True)


def test_every_default_can_be_read_and_every_row_is_a_field(tmp_path: Path) -> None:
    found = load(tmp_path)
    for row in TABLE:
        assert hasattr(found, row.key)
        assert row.help.endswith(".")
    assert len({row.env for row in TABLE}) == len(TABLE)


def test_models_are_where_the_hub_keeps_them_unless_told_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/u")
    monkeypatch.chdir(tmp_path)
    assert hub_cache(load(tmp_path)) == Path("/home/u/.cache/huggingface/hub")
    assert hub_cache(load(tmp_path, HF_HOME="/hf")) == Path("/hf/hub")
    assert hub_cache(load(tmp_path, HF_HOME="/hf", HF_HUB_CACHE="/hub")) == Path("/hub")
    ours = {"MODELDEPLOY_CACHE_DIR": "./huggingface_cache", "HF_HUB_CACHE": "/hub"}
    assert hub_cache(load(tmp_path, **ours)) == tmp_path / "huggingface_cache"
    assert hub_cache(load(tmp_path, {"cache_dir": "/mine"}, **ours)) == Path("/mine")


def test_secrets_are_not_in_the_repr(tmp_path: Path) -> None:
    assert "hf_secret" not in repr(load(tmp_path, HF_TOKEN="hf_secret"))
