"""OpenVINO GenAI, which reads the GGUF file itself and converts it to its own form."""

import random
import time

import numpy as np
import openvino
import openvino_genai

import protocol

_EXPECTED_CONTEXT = 1 << 20  # the pipeline does not tell: it is left to the other engine


class OpenVinoPeer:
    def info(self):
        return {"version": f"openvino-genai {openvino_genai.__version__}",
                "build": openvino.Core().get_property("CPU", "FULL_DEVICE_NAME")}

    def open(self, model, threads):
        # 16-bit keys and values like everyone else here; its own default is 8 bits.
        self._pipeline = openvino_genai.LLMPipeline(
            model, "CPU", INFERENCE_NUM_THREADS=threads, KV_CACHE_PRECISION="f16")
        return {"context_length": _EXPECTED_CONTEXT}

    def continue_greedily(self, ids, count):
        return self._generate(ids, count)[0]

    def argmax_after(self, ids, first):
        return [self._generate(ids[:i], 1)[0][0] for i in range(first, len(ids) + 1)]

    def settings(self, shape):
        return ["16-bit KV"]

    def prepare(self, shape, setting):
        if shape["sequences"] > 1:
            raise ValueError("batches are not measured: the pipeline does not tell prompt and "
                             "answer apart in them")
        self._shape = shape
        self._random = random.Random(1)

    def measure(self, repetitions):
        tokens, rates = self._shape["tokens"], []
        length = tokens if self._shape["kind"] == "pp" else max(1, self._shape["depth"])
        for _ in range(repetitions + 1):
            # New ids every time: the pipeline keeps keys and values of prompts that it has read.
            ids = [self._random.randrange(1000, 30000) for _ in range(length)]
            if self._shape["kind"] == "pp":
                start = time.perf_counter()
                self._generate(ids, 1)
                rates.append(tokens / (time.perf_counter() - start))
            else:
                _, metrics = self._generate(ids, tokens + 1)
                rates.append(1000 / metrics.get_tpot().mean)
        return rates[1:]

    def _generate(self, ids, count):
        """(`count` greedy ids, the pipeline's metrics)."""
        config = openvino_genai.GenerationConfig()
        config.max_new_tokens = count
        config.do_sample = False
        config.ignore_eos = True
        inputs = openvino_genai.TokenizedInputs(
            openvino.Tensor(np.array([ids], np.int64)),
            openvino.Tensor(np.ones((1, len(ids)), np.int64)))
        result = self._pipeline.generate(inputs, config)
        return list(result.tokens[0]), result.perf_metrics


if __name__ == "__main__":
    protocol.serve(OpenVinoPeer())
