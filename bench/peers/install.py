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

from bench import results
from bench.peers.catalog import PEERS, Peer

FOLDER = Path(__file__).resolve().parents[2] / ".peers"


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
    try:
        built = peer.build(folder / "bin") if peer.build else ""
    except subprocess.CalledProcessError as error:
        return str((error.stderr or error.stdout or str(error)).strip().splitlines()[-1])
    (folder / "installed").write_text(built)
    return ""


def versions(name: str, python: str) -> dict[str, str]:
    """What is told of a peer that is installed beside ``python``."""
    peer = PEERS[name]
    if peer.build:
        return {name: (environment(name) / "installed").read_text()}
    return results.versions(peer.distribution, python=python)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="PEER")
    # What is compiled takes a quarter of an hour: only where it is asked for by name.
    asked = parser.parse_args().names or [name for name, peer in PEERS.items() if not peer.build]
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
