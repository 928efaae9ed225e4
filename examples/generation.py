"""Text generation, token by token as they are written.

modeldeploy deploy gpt2
python examples/generation.py http://127.0.0.1:8100 "Once upon a time"
"""

import sys

from huggingface_hub import InferenceClient

url = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8100"
prompt = sys.argv[2] if len(sys.argv) > 2 else "Once upon a time"

client = InferenceClient(model=url)
print(prompt, end="", flush=True)
for text in client.text_generation(prompt, max_new_tokens=40, temperature=0.8, seed=1, stream=True):
    print(text, end="", flush=True)
print()
