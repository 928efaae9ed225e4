"""What this machine's processor is and can do."""

from __future__ import annotations

import platform
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_BF16 = {"avx512_bf16", "amx_bf16", "bf16"}  # the last one is Arm's
_INT8 = {"avx512_vnni", "avx_vnni", "amx_int8"}


def described() -> str:
    """Its model and its instructions."""
    try:
        lines = _CPUINFO.read_text().splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    kinds = ("model name", "flags", "Features")
    return "".join(dict.fromkeys(line for line in lines if line.startswith(kinds)))


def computes_bf16() -> bool:
    """Whether it has bfloat16 arithmetic (AVX-512 BF16, AMX, Arm's BF16)."""
    return not _BF16.isdisjoint(described().split())


def sums_int8_whole() -> bool:
    """Whether sums of products of bytes are whole: x86 without VNNI adds pairs of them in 16 bits,
    which are too few."""
    return platform.machine() not in {"x86_64", "AMD64"} or not _INT8.isdisjoint(
        described().split()
    )
