"""Text classification with nothing but the standard library.

modeldeploy deploy builtin/sentiment
python examples/sentiment.py http://127.0.0.1:8100
"""

import json
import sys
import urllib.request

url = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8100"
texts = ["I love this product!", "This is terrible", "not bad at all"]

request = urllib.request.Request(
    f"{url}/predict",
    data=json.dumps({"texts": texts}).encode(),
    headers={"content-type": "application/json"},
)
with urllib.request.urlopen(request, timeout=60) as response:
    answer = json.load(response)

for text, (best,) in zip(texts, answer["result"], strict=True):
    print(f"{text:<24} {best['label']:<9} {best['score']:.3f}")
print(f"{answer['inference_time_ms']:.1f} ms for all of them")
