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


class _Plan(ctypes.Structure):
    # The head of ggml_cplan, and room for what later versions add behind it.
    _fields_ = [("work_size", ctypes.c_size_t), ("work_data", ctypes.c_void_p),
                ("rest", ctypes.c_byte * 112)]


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
_plan = _declare(_cpu, "ggml_graph_plan", _Plan, _p, ctypes.c_int, _p)
_compute = _declare(_cpu, "ggml_graph_compute", ctypes.c_int, _p, ctypes.POINTER(_Plan))
_cpu.ggml_cpu_init()


class Attention:
    """keys, values: f16 [batch, kv_heads, kv_len, dim]."""

    def __init__(self, keys, values, q_len, heads, causal, threads):
        batch, kv_heads, kv_len, dim = keys.shape
        mask_bytes = 2 * (q_len + 64) * kv_len
        mem = 2 * keys.nbytes + 8 * batch * heads * q_len * dim + mask_bytes + (4 << 20)
        self._context = _init(_InitParams(mem, None, False))
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
        self._plan = _plan(self._nodes, threads, None)
        self._work = ctypes.create_string_buffer(self._plan.work_size + 64)
        self._plan.work_data = ctypes.addressof(self._work)

    def __del__(self):
        _free(self._context)

    @staticmethod
    def _fill(tensor, array):
        array = np.ascontiguousarray(array)
        ctypes.memmove(_data(tensor), array.ctypes.data, array.nbytes)
        return tensor

    def run(self, q):  # [batch, heads, q_len, dim]
        self._fill(self._q, q)
        if _compute(self._nodes, ctypes.byref(self._plan)) != 0:
            raise RuntimeError("ggml could not compute the graph")
        batch, heads, q_len, dim = self._shape
        buffer = (ctypes.c_float * (batch * heads * q_len * dim)).from_address(_data(self._out))
        # ggml's result is [batch, q_len, heads, dim].
        return np.frombuffer(buffer, np.float32).reshape(batch, q_len, heads, dim).transpose(
            0, 2, 1, 3)
