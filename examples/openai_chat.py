"""A chat through OpenAI's own client, streamed (pip install openai).

modeldeploy deploy HuggingFaceTB/SmolLM2-135M-Instruct --name chat
python examples/openai_chat.py http://127.0.0.1:8100 "What is the capital of France?"
"""

import sys

from openai import OpenAI

url = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8100"
question = sys.argv[2] if len(sys.argv) > 2 else "What is the capital of France?"

client = OpenAI(base_url=f"{url}/v1", api_key="none")
model = client.models.list().data[0].id
for chunk in client.chat.completions.create(
    model=model,
    messages=[{"role": "user", "content": question}],
    max_tokens=60,
    temperature=0,
    stream=True,
):
    print(chunk.choices[0].delta.content or "", end="", flush=True)
print()
