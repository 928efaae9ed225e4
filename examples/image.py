"""Image classification: a file's bytes as they are.

modeldeploy deploy builtin/digits
python examples/image.py http://127.0.0.1:8100 modeldeploy/builtin/digits/examples/3.png
"""

import json
import sys
import urllib.request
from pathlib import Path

url = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8100"
file = Path(sys.argv[2] if len(sys.argv) > 2 else "modeldeploy/builtin/digits/examples/3.png")

request = urllib.request.Request(
    f"{url}/predict", data=file.read_bytes(), headers={"content-type": "image/png"}
)
with urllib.request.urlopen(request, timeout=60) as response:
    for found in json.load(response)["result"]:
        print(f"{found['label']:<12} {found['score']:.3f}")
