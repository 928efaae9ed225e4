"""MLServer: a custom runtime that decodes strings and answers with JSON strings or a tensor."""

from __future__ import annotations

import json
import os

import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse

from bench.peers.servers import predictor


class Runtime(MLModel):
    async def load(self) -> bool:
        self._predict = predictor.load()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        found = self._predict(StringCodec.decode_input(payload.inputs[0]))
        if os.environ["BENCH_WORKLOAD"] in {"embeddings", "many"}:
            output = NumpyCodec.encode_output("output", np.asarray(found, dtype=np.float32))
        else:
            output = StringCodec.encode_output("output", [json.dumps(one) for one in found])
        return InferenceResponse(model_name=self.name, outputs=[output])
