"""A model folder with an ONNX file, for peers that look for one, made by optimum.

``python -m bench.peers.servers.export_onnx SNAPSHOT FOLDER classification|embeddings|many``
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path


def main(snapshot: str, folder: str, workload: str) -> None:
    from optimum.onnxruntime import ORTModelForFeatureExtraction, ORTModelForSequenceClassification

    kind = (
        ORTModelForSequenceClassification
        if workload == "classification"
        else ORTModelForFeatureExtraction
    )
    made = Path(folder).with_name(f"{Path(folder).name}.part")
    shutil.rmtree(made, ignore_errors=True)
    shutil.copytree(snapshot, made)
    kind.from_pretrained(snapshot, export=True).save_pretrained(made)
    made.rename(folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
