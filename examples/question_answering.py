"""A question and a text in, the passage that answers it out.

modeldeploy deploy deepset/roberta-base-squad2
python examples/question_answering.py http://127.0.0.1:8100
"""

import sys

from huggingface_hub import InferenceClient

url = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8100"
context = "Ada moved from Paris to London, where she lives with her sister."

client = InferenceClient(model=url)
found = client.question_answering(question="Where does Ada live?", context=context)
print(f"{found.answer!r} at {found.start}-{found.end}, score {found.score:.3f}")
