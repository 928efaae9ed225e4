"""What ``make demo`` runs: deploy the embedded model, ask it three sentences, say how to go on.

Only the command line and plain HTTP are used, as anybody would.
"""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

NAME = "sentiment"
SENTENCES = ("I love this product!", "This is terrible", "not bad at all")
MODELDEPLOY = str(Path(sys.executable).with_name("modeldeploy"))


def modeldeploy(*arguments: str, quiet: bool = False) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [MODELDEPLOY, *arguments],
        text=True,
        check=False,
        stdout=subprocess.PIPE if quiet else None,
        stderr=subprocess.DEVNULL if quiet else None,
    )


def running() -> dict[str, object] | None:
    """The demo's deployment, if an earlier demo left it running."""
    shown = modeldeploy("inspect", NAME, quiet=True)
    if shown.returncode != 0:
        return None
    deployment: dict[str, object] = json.loads(shown.stdout)[0]
    return deployment


def ensure_deployed() -> None:
    deployment = running()
    if deployment is None:
        print(f"$ modeldeploy deploy builtin/sentiment --name {NAME}", flush=True)
        done = modeldeploy("deploy", "builtin/sentiment", "--name", NAME)
    elif deployment["state"] == "RUNNING":
        print(f"{NAME} is running already.", flush=True)
        return
    else:
        print(f"$ modeldeploy start {NAME}", flush=True)
        done = modeldeploy("start", NAME)
    if done.returncode != 0:
        sys.exit(done.returncode)


def ask(url: str, text: str) -> tuple[str, float, float]:
    """The label, its score, and the milliseconds the server says it took."""
    request = urllib.request.Request(
        f"{url}/predict",
        data=json.dumps({"text": text}).encode(),
        headers={"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        answer = json.load(response)
    best = answer["result"][0]
    return best["label"], best["score"], answer["inference_time_ms"]


def main() -> None:
    ensure_deployed()
    deployment = running()
    assert deployment is not None
    url = str(deployment["url"])
    print(f"\nPOST {url}/predict")
    for text in SENTENCES:
        label, score, milliseconds = ask(url, text)
        print(f"  {text:<24} {label:<9} {score:.3f}   {milliseconds:.1f} ms")
    print(
        f"\nAsk it yourself (it is a small model, trained in about a minute; see its card in"
        f"\nmodeldeploy/builtin/sentiment/README.md for what it cannot do):\n"
        f"\n  curl {url}/predict -H 'content-type: application/json' -d '{{\"text\": \"...\"}}'\n"
        f"\nGo on with\n"
        f"  {MODELDEPLOY} ls\n"
        f"  {MODELDEPLOY} deploy gpt2 --name gen      # any model of the Hub\n"
        f"\nStop it all with\n"
        f"  {MODELDEPLOY} rm -f {NAME} && {MODELDEPLOY} daemon stop"
    )


if __name__ == "__main__":
    main()
