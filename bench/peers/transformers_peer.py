"""transformers and torch on the dequantised weights of the same GGUF file."""

import pathlib
import random
import sys
import time

import torch
import transformers

import protocol

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests/oracle"))
import logits_gguf_model  # noqa: E402  (the path is set above)

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_CHUNK = 512  # rows of one forward pass, so that logits and scores stay small


class TransformersPeer:
    def info(self):
        return {"version": f"transformers {transformers.__version__}, torch {torch.__version__}",
                "build": f"CPU capability {torch.backends.cpu.get_cpu_capability()}, "
                         f"oneDNN {torch.backends.mkldnn.is_available()}"}

    def open(self, model, threads):
        torch.set_num_threads(threads)
        self._model, _ = logits_gguf_model.load(model)
        self._model.set_attn_implementation("sdpa")
        return {"context_length": self._model.config.max_position_embeddings}

    @torch.inference_mode()
    def continue_greedily(self, ids, count):
        self._model.to(torch.float32)
        cache, logits = self._read(torch.tensor([ids]))
        answer = []
        for _ in range(count):
            answer.append(int(logits[0, -1].argmax()))
            logits = self._forward(torch.tensor([[answer[-1]]]), cache)
        return answer

    @torch.inference_mode()
    def argmax_after(self, ids, first):
        self._model.to(torch.float32)
        logits = self._model(torch.tensor([ids]), use_cache=False).logits[0, first - 1:]
        return logits.argmax(-1).tolist()

    def settings(self, shape):
        return list(_DTYPES)

    @torch.inference_mode()
    def prepare(self, shape, setting):
        self._model.to(_DTYPES[setting])
        self._shape = shape
        ids = random.Random(1)
        count, vocab_size = shape["depth"] + shape["tokens"], self._model.config.vocab_size
        rows = [[ids.randrange(vocab_size) for _ in range(count)]
                for _ in range(shape["sequences"])]
        self._ids = torch.tensor(rows)
        self._cache = transformers.DynamicCache(config=self._model.config)
        if shape["depth"]:
            self._cache, _ = self._read(self._ids[:, :shape["depth"]])

    @torch.inference_mode()
    def measure(self, repetitions):
        depth, rates = self._shape["depth"], []
        for _ in range(repetitions + 1):
            if depth == 0:
                self._cache = transformers.DynamicCache(config=self._model.config)
            elif (surplus := self._cache.get_seq_length() - depth) > 0:
                self._cache.crop(-surplus)
            start = time.perf_counter()
            if self._shape["kind"] == "pp":
                self._forward(self._ids[:, depth:], self._cache)
            else:
                for position in range(depth, self._ids.shape[1]):
                    self._forward(self._ids[:, position:position + 1], self._cache)
            seconds = time.perf_counter() - start
            rates.append(self._shape["tokens"] * self._shape["sequences"] / seconds)
        return rates[1:]

    def _forward(self, ids, cache):
        return self._model(ids, past_key_values=cache, use_cache=True, logits_to_keep=1).logits

    def _read(self, ids):
        cache = transformers.DynamicCache(config=self._model.config)
        for first in range(0, ids.shape[1], _CHUNK):
            logits = self._forward(ids[:, first:first + _CHUNK], cache)
        return cache, logits


if __name__ == "__main__":
    protocol.serve(TransformersPeer())
