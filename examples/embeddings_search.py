"""Semantic search: the sentences that mean most nearly what is asked.

modeldeploy deploy sentence-transformers/all-MiniLM-L6-v2
python examples/embeddings_search.py http://127.0.0.1:8100 "How do I get my money back?"
"""

import sys

import numpy as np
from huggingface_hub import InferenceClient

url = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8100"
query = sys.argv[2] if len(sys.argv) > 2 else "How do I get my money back?"
sentences = [
    "You can return any item within thirty days for a refund.",
    "Our office is closed on public holidays.",
    "The cat slept on the warm windowsill all afternoon.",
    "Parcels usually arrive within three working days.",
]

client = InferenceClient(model=url)
vectors = client.feature_extraction([query, *sentences], normalize=True)
scores = vectors[1:] @ vectors[0]
for at in np.argsort(-scores):
    print(f"{scores[at]:.3f}  {sentences[at]}")
