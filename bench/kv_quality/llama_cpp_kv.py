"""llama.cpp's side of bench/kv_quality/run: windows of tokens through contexts that differ in the
type of keys and values alone, in lockstep, compared with the context in f16.

Lives in the environment of bench/peers and speaks its protocol:

  info()                           -> {"version", "build"}
  open(model, threads)             -> {"context_length"}
  window(ids, types)               -> {"log", type: {"nll", "kl", "agreed"}}, lists over ids[1:]
"""

import ctypes
import pathlib
import sys

import llama_cpp
import numpy as np

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "peers"))
import protocol  # noqa: E402

REFERENCE = "f16"
# Names as llama.cpp's --cache-type-k has them -> ggml's numbers.
TYPES = {"f16": 1, "q8_0": 8, "q5_1": 7, "q5_0": 6, "q4_1": 3, "q4_0": 2, "iq4_nl": 20}
# f16 again in smaller pieces: what rounding alone costs.
FLOOR = "f16/ubatch64"
_PIECE = 256  # rows of one llama_decode: their logits take 50 MiB in a vocabulary of 49,152
_FLOOR_PIECE = 64

_log_lines = []


@llama_cpp.llama_log_callback
def _log(level, text, user_data):
    if text and b"attn_rot" in text:
        _log_lines.append(text.decode(errors="replace").strip())


class _Context:
    """A context of one type, and a batch to feed it with."""

    def __init__(self, model, tokens, threads, kind):
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = -(-tokens // 256) * 256
        params.n_batch = _PIECE
        params.n_ubatch = _FLOOR_PIECE if kind == FLOOR else _PIECE
        params.n_threads = params.n_threads_batch = threads
        # Quantised values need it; all have it, so that nothing differs but the type.
        params.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_ENABLED
        params.type_k = params.type_v = TYPES[kind.split("/")[0]]
        self._vocab_size = llama_cpp.llama_vocab_n_tokens(
            llama_cpp.llama_model_get_vocab(model))
        self._context = llama_cpp.llama_init_from_model(model, params)
        if not self._context:
            raise RuntimeError(f"llama.cpp cannot make a context of {tokens} tokens in {kind}")
        self._batch = llama_cpp.llama_batch_init(_PIECE, 0, 1)

    def read(self, ids, first):
        """Logits [len(ids), vocabulary] of a piece that begins at position `first`."""
        batch = self._batch
        batch.n_tokens = len(ids)
        for i, token in enumerate(ids):
            batch.token[i], batch.pos[i], batch.n_seq_id[i] = token, first + i, 1
            batch.seq_id[i][0] = 0
            batch.logits[i] = True
        if llama_cpp.llama_decode(self._context, batch):
            raise RuntimeError(f"llama_decode of {len(ids)} tokens failed")
        logits = llama_cpp.llama_get_logits(self._context)
        return np.ctypeslib.as_array(logits, (len(ids), self._vocab_size))

    def close(self):
        llama_cpp.llama_batch_free(self._batch)
        llama_cpp.llama_free(self._context)


def _log_softmax(logits):
    """In double precision."""
    logits = logits.astype(np.float64)
    logits -= logits.max(axis=1, keepdims=True)
    logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return logits


class LlamaCppKv:
    def __init__(self):
        llama_cpp.llama_log_set(_log, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()

    def info(self):
        return {"version": f"llama-cpp-python {llama_cpp.__version__}",
                "build": llama_cpp.llama_print_system_info().decode().strip().strip("|").strip()}

    def open(self, model, threads):
        self._model = llama_cpp.llama_model_load_from_file(
            model.encode(), llama_cpp.llama_model_default_params())
        if not self._model:
            raise RuntimeError(f"llama.cpp cannot load {model}")
        self._threads = threads
        return {"context_length": llama_cpp.llama_n_ctx_train(self._model)}

    def window(self, ids, types):
        _log_lines.clear()
        kinds = [REFERENCE] + [kind for kind in types if kind != REFERENCE]
        contexts = {kind: _Context(self._model, len(ids), self._threads, kind) for kind in kinds}
        scores = {kind: {"nll": [], "kl": [], "agreed": []} for kind in kinds}
        # The last token is only predicted, never read.
        for first in range(0, len(ids) - 1, _PIECE):
            piece = ids[first:min(first + _PIECE, len(ids) - 1)]
            following = ids[first + 1:first + 1 + len(piece)]
            for kind, context in contexts.items():
                log_q = _log_softmax(context.read(piece, first))
                if kind == REFERENCE:
                    log_p, p = log_q, np.exp(log_q)
                score = scores[kind]
                score["nll"] += (-log_q[np.arange(len(piece)), following]).tolist()
                score["kl"] += (p * (log_p - log_q)).sum(axis=1).tolist()
                score["agreed"] += (log_p.argmax(axis=1) == log_q.argmax(axis=1)).tolist()
        for context in contexts.values():
            context.close()
        return {"log": sorted(set(_log_lines)), **scores}


if __name__ == "__main__":
    protocol.serve(LlamaCppKv())
