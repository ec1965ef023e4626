"""llama.cpp through the low-level API of llama-cpp-python: llama_decode on batches."""

import ctypes
import itertools
import os
import random
import time

import llama_cpp
import numpy as np

import protocol

_FTYPES = {"Q4_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_0, "Q4_1": llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_1,
           "Q8_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0}
_BATCH = 512  # rows of one llama_decode, its default


@llama_cpp.llama_log_callback
def _log_nothing(level, text, user_data):
    pass


class LlamaCppPeer:
    def __init__(self):
        llama_cpp.llama_log_set(_log_nothing, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
        self._model = self._context = None
        self._batch = llama_cpp.llama_batch_init(_BATCH, 0, 1)
        for i in range(_BATCH):
            self._batch.n_seq_id[i] = 1

    def info(self):
        return {"version": f"llama-cpp-python {llama_cpp.__version__}",
                "build": llama_cpp.llama_print_system_info().decode().strip().strip("|").strip()}

    def quantize(self, source, target, kind):
        """llama.cpp's own quantiser, which may start from a quantised file."""
        params = llama_cpp.llama_model_quantize_default_params()
        params.ftype = _FTYPES[kind]
        params.allow_requantize = True
        partial = target + ".part"
        if llama_cpp.llama_model_quantize(source.encode(), partial.encode(), ctypes.byref(params)):
            raise RuntimeError(f"llama_model_quantize of {source} to {kind} failed")
        os.replace(partial, target)

    def open(self, model, threads):
        self._free_context()
        if self._model:
            llama_cpp.llama_model_free(self._model)
        self._model = llama_cpp.llama_model_load_from_file(
            model.encode(), llama_cpp.llama_model_default_params())
        if not self._model:
            raise RuntimeError(f"llama.cpp cannot load {model}")
        self._threads = threads
        vocab = llama_cpp.llama_model_get_vocab(self._model)
        self._vocab_size = llama_cpp.llama_vocab_n_tokens(vocab)
        return {"context_length": llama_cpp.llama_n_ctx_train(self._model)}

    def continue_greedily(self, ids, count):
        self._new_context(len(ids) + count, 1, flash=True, unified=True)
        self._read(0, ids)
        answer = []
        for _ in range(count):
            answer.append(int(self._last_logits().argmax()))
            self._decode([(answer[-1], 0, len(ids) + len(answer) - 1)])
        return answer

    def argmax_after(self, ids, first):
        self._new_context(len(ids), 1, flash=True, unified=True)
        self._read(0, ids[:first])
        best = [int(self._last_logits().argmax())]
        for position in range(first, len(ids)):
            self._decode([(ids[position], 0, position)])
            best.append(int(self._last_logits().argmax()))
        return best

    def settings(self, shape):
        names = ["flash attention", "no flash attention"]
        if shape["sequences"] == 1:
            return names
        return [f"{flash}, {kv}" for flash, kv in
                itertools.product(names, ["one KV buffer", "a KV buffer per sequence"])]

    def prepare(self, shape, setting):
        self._shape = shape
        self._new_context(shape["depth"] + shape["tokens"] + 1, shape["sequences"],
                          flash=not setting.startswith("no flash"),
                          unified="per sequence" not in setting)
        ids = random.Random(1)
        count = shape["depth"] + shape["tokens"]
        self._ids = [[ids.randrange(self._vocab_size) for _ in range(count)]
                     for _ in range(shape["sequences"])]
        for sequence, tokens in enumerate(self._ids):
            self._read(sequence, tokens[:shape["depth"]])

    def measure(self, repetitions):
        tokens, depth = self._shape["tokens"], self._shape["depth"]
        step = self._prefill if self._shape["kind"] == "pp" else self._generate
        rates = []
        for _ in range(repetitions + 1):
            memory = llama_cpp.llama_get_memory(self._context)
            for sequence in range(self._shape["sequences"]):
                llama_cpp.llama_memory_seq_rm(memory, sequence, depth, -1)
            start = time.perf_counter()
            step()
            seconds = time.perf_counter() - start
            rates.append(tokens * self._shape["sequences"] / seconds)
        return rates[1:]

    def _prefill(self):
        for sequence, ids in enumerate(self._ids):
            self._read(sequence, ids[self._shape["depth"]:], self._shape["depth"])

    def _generate(self):
        # The next tokens are known beforehand: choosing them costs the peer nothing.
        for position in range(self._shape["depth"], self._shape["depth"] + self._shape["tokens"]):
            self._decode([(ids[position], i, position) for i, ids in enumerate(self._ids)])

    def _free_context(self):
        if self._context:
            llama_cpp.llama_free(self._context)
        self._context = None

    def _new_context(self, tokens, sequences, flash, unified):
        self._free_context()
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = sequences * -(-tokens // 256) * 256
        params.n_seq_max = sequences
        params.n_batch = params.n_ubatch = _BATCH
        params.n_threads = params.n_threads_batch = self._threads
        params.flash_attn_type = (llama_cpp.LLAMA_FLASH_ATTN_TYPE_ENABLED if flash
                                  else llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED)
        params.kv_unified = unified
        params.swa_full = True  # so that `measure` can go back
        self._context = llama_cpp.llama_init_from_model(self._model, params)
        if not self._context:
            raise RuntimeError(f"llama.cpp cannot make a context of {params.n_ctx} tokens")

    def _read(self, sequence, ids, position=0):
        """Reads a prompt, with logits of the last token."""
        for first in range(0, len(ids), _BATCH):
            chunk = ids[first:first + _BATCH]
            is_last = first + len(chunk) == len(ids)
            self._decode([(token, sequence, position + first + i) for i, token in enumerate(chunk)],
                         all_logits=False, last_logits=is_last)

    def _decode(self, rows, all_logits=True, last_logits=True):
        batch = self._batch
        batch.n_tokens = len(rows)
        for i, (token, sequence, position) in enumerate(rows):
            batch.token[i], batch.pos[i], batch.seq_id[i][0] = token, position, sequence
            batch.logits[i] = all_logits
        batch.logits[len(rows) - 1] = last_logits
        if llama_cpp.llama_decode(self._context, batch) != 0:
            raise RuntimeError(f"llama_decode of {len(rows)} tokens failed")
        llama_cpp.llama_synchronize(self._context)

    def _last_logits(self):
        return np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(self._context, -1),
                                     (self._vocab_size,))


if __name__ == "__main__":
    protocol.serve(LlamaCppPeer())
