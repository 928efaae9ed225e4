"""What this machine's processor is and can do."""

from __future__ import annotations

import platform
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_FLAGS = ("flags", "Features")
_BF16 = {"avx512_bf16", "amx_bf16", "bf16"}  # the last one is Arm's
_INT8 = {"avx512_vnni", "avx_vnni", "amx_int8"}


def described() -> str:
    """Its model and its instructions."""
    return _lines("model name", *_FLAGS) or f"{platform.machine()} {platform.processor()}"


def computes_bf16() -> bool:
    """Whether it has bfloat16 arithmetic (AVX-512 BF16, AMX, Arm's BF16)."""
    return not _BF16.isdisjoint(_lines(*_FLAGS).split())


def sums_int8_whole() -> bool:
    """Whether sums of products of bytes are whole: x86 without VNNI adds pairs of them in 16 bits,
    which are too few."""
    is_x86 = platform.machine() in {"x86_64", "AMD64"}
    return not is_x86 or not _INT8.isdisjoint(_lines(*_FLAGS).split())


def _lines(*kinds: str) -> str:
    """Those of the system's description; nothing where it has none."""
    try:
        lines = _CPUINFO.read_text().splitlines()
    except OSError:
        return ""
    return "".join(dict.fromkeys(line for line in lines if line.startswith(kinds)))
