"""What a processor can do is read from what it says of itself."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from modeldeploy.worker import cpu


def _cpuinfo(monkeypatch: pytest.MonkeyPatch, folder: Path, flags: str) -> None:
    file = folder / "cpuinfo"
    file.write_text(f"processor : 0\nmodel name : a bf16 avx_vnni\n{flags}\n" * 2)
    monkeypatch.setattr(cpu, "_CPUINFO", file)


@pytest.mark.parametrize(
    ("flags", "bf16", "int8"),
    [
        ("flags : fpu avx2 avx512_bf16 avx512_vnni", True, True),
        ("flags : fpu avx2 amx_bf16 amx_int8", True, True),
        ("flags : fpu avx2 avx_vnni", False, True),
        ("flags : fpu avx2 avx512f avx_vnni_int8 not_bf16", False, False),
        ("Features : fp asimd bf16", True, False),
    ],
)
def test_its_flags_tell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: str, bf16: bool, int8: bool
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    _cpuinfo(monkeypatch, tmp_path, flags)
    assert (cpu.computes_bf16(), cpu.sums_int8_whole()) == (bf16, int8)


def test_only_x86_sums_bytes_in_too_few_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert cpu.sums_int8_whole()


def test_where_the_system_does_not_tell_nothing_is_taken_for_granted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu, "_CPUINFO", tmp_path / "none")
    assert cpu.described()
    assert not cpu.computes_bf16()
