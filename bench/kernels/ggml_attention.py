"""ggml_flash_attn_ext, llama.cpp's attention, called through ctypes in the libraries that
llama-cpp-python brings: one graph of one node over keys and values in f16."""

import ctypes
import pathlib

import llama_cpp
import numpy as np

_LIB = pathlib.Path(llama_cpp.__file__).parent / "lib"
_base = ctypes.CDLL(str(_LIB / "libggml-base.so"))
_cpu = ctypes.CDLL(str(_LIB / "libggml-cpu.so"))
_F32, _F16 = 0, 1  # enum ggml_type


class _InitParams(ctypes.Structure):
    _fields_ = [("mem_size", ctypes.c_size_t), ("mem_buffer", ctypes.c_void_p),
                ("no_alloc", ctypes.c_bool)]


def _declare(library, name, result, *arguments):
    function = getattr(library, name)
    function.restype, function.argtypes = result, arguments
    return function


_p, _i64, _f = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float
_init = _declare(_base, "ggml_init", _p, _InitParams)
_free = _declare(_base, "ggml_free", None, _p)
_tensor = _declare(_base, "ggml_new_tensor_4d", _p, _p, ctypes.c_int, _i64, _i64, _i64, _i64)
_data = _declare(_base, "ggml_get_data", _p, _p)
_attend = _declare(_base, "ggml_flash_attn_ext", _p, _p, _p, _p, _p, _p, _f, _f, _f)
_graph = _declare(_base, "ggml_new_graph", _p, _p)
_expand = _declare(_base, "ggml_build_forward_expand", None, _p, _p)
_compute = _declare(_cpu, "ggml_graph_compute_with_ctx", ctypes.c_int, _p, _p, ctypes.c_int)
_cpu.ggml_cpu_init()


class Attention:
    """keys, values: f16 [batch, kv_heads, kv_len, dim]."""

    def __init__(self, keys, values, q_len, heads, causal, threads):
        batch, kv_heads, kv_len, dim = keys.shape
        # Tensors, and as much again as the work buffers of all threads may take.
        mem = 2 * keys.nbytes + 8 * batch * heads * q_len * dim + 2 * q_len * kv_len + (256 << 20)
        self._context = _init(_InitParams(mem, None, False))
        self._threads = threads
        self._shape = (batch, heads, q_len, dim)
        self._q = _tensor(self._context, _F32, dim, q_len, heads, batch)
        k = self._fill(_tensor(self._context, _F16, dim, kv_len, kv_heads, batch), keys)
        v = self._fill(_tensor(self._context, _F16, dim, kv_len, kv_heads, batch), values)
        mask = None
        if causal:
            padded = -(-q_len // 64) * 64  # as llama.cpp pads it
            hidden = np.triu(np.full((padded, kv_len), -np.inf, np.float16), kv_len - q_len + 1)
            mask = self._fill(_tensor(self._context, _F16, kv_len, padded, 1, 1), hidden)
        self._out = _attend(self._context, self._q, k, v, mask, dim**-0.5, 0.0, 0.0)
        self._nodes = _graph(self._context)
        _expand(self._nodes, self._out)

    def __del__(self):
        _free(self._context)

    @staticmethod
    def _fill(tensor, array):
        array = np.ascontiguousarray(array)
        ctypes.memmove(_data(tensor), array.ctypes.data, array.nbytes)
        return tensor

    def run(self, q):  # [batch, heads, q_len, dim]
        self._fill(self._q, q)
        mark = _mark(self._context)
        if _compute(self._context, self._nodes, self._threads) != 0:
            raise RuntimeError("ggml could not compute the graph")
        _reset(self._context, mark)
        batch, heads, q_len, dim = self._shape
        buffer = (ctypes.c_float * (batch * heads * q_len * dim)).from_address(_data(self._out))
        # ggml's result is [batch, q_len, heads, dim].
        return np.frombuffer(buffer, np.float32).reshape(batch, q_len, heads, dim).transpose(
            0, 2, 1, 3)
