"""Each peer in an environment of its own, which sees what ours has: torch is not installed again
where the peer allows our version.

``python -m bench.peers.install [PEER ...]``; a peer that cannot be had is named with the reason.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import sysconfig
from pathlib import Path

from bench.peers.catalog import PEERS, Peer

FOLDER = Path(__file__).resolve().parents[2] / ".peers"
_BUILT_FROM_SOURCE = {"llama.cpp"}  # minutes of a compiler: only where asked for by name


def environment(name: str) -> Path:
    return FOLDER / (PEERS[name].venv or name)


def python_of(name: str) -> str | None:
    """The interpreter to run a peer with; None where it is not installed."""
    if not PEERS[name].requirements:
        return sys.executable
    found = environment(name) / "bin" / "python"
    return str(found) if (environment(name) / "installed").exists() else None


def install(name: str, peer: Peer) -> str:
    """Empty, or why not."""
    folder = environment(name)
    if not (folder / "bin" / "python").exists():
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    shared = folder / "lib" / version / "site-packages" / "shared.pth"
    shared.write_text(sysconfig.get_path("purelib"))
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install"]
    done = subprocess.run(
        [*pip, "--quiet", *peer.requirements], capture_output=True, text=True, check=False
    )
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        return (errors or done.stderr.splitlines() or ["pip failed"])[-1]
    (folder / "installed").touch()
    return ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="PEER")
    asked = parser.parse_args().names or [n for n in PEERS if n not in _BUILT_FROM_SOURCE]
    failed = False
    for name in asked:
        if python_of(name) is None:
            why = install(name, PEERS[name])
            failed |= bool(why)
            print(f"{name:<18} {why or 'installed'}", flush=True)
        else:
            print(f"{name:<18} there")
    sys.exit(failed)


if __name__ == "__main__":
    main()
