"""The native dialect with requests (pip install requests): an answer, and an error worth reading.

modeldeploy deploy builtin/sentiment
python examples/plain_requests.py http://127.0.0.1:8100
"""

import sys

import requests

url = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8100"

health = requests.get(f"{url}/health", timeout=10)
print(health.status_code, health.json())

answer = requests.post(f"{url}/predict", json={"text": "not bad at all", "top_k": 2}, timeout=60)
answer.raise_for_status()
print(answer.json()["result"])

wrong = requests.post(f"{url}/predict", json={"text": "fine", "top_k": 0}, timeout=60)
error = wrong.json()["error"]
print(wrong.status_code, error["code"], "-", error["message"], "-", error["hint"])
