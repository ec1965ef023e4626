"""What the classes share: arguments into the arrays that _core takes, outputs, renamed arguments."""
import functools
import math
import os

import numpy as np

from . import _core

# Arguments of FlashInfer that choose between ways of a GPU: accepted, without effect.
GPU_ONLY = frozenset({
    "backend", "block_tables", "check_nan", "device", "disable_split_kv", "enable_pdl", "fixed_split_size",
    "float_workspace_buffer", "int_workspace_buffer", "max_token_per_sequence", "max_sequence_kv",
    "non_blocking", "paged_kv_indices_buffer", "paged_kv_indptr_buffer",
    "paged_kv_last_page_len_buffer", "use_cuda_core", "use_cuda_graph", "use_fp16_qk_reduction",
    "use_profiler", "use_tensor_cores", "workspace_buffer",
})
POSITIONS_MODES = ("NONE", "ROPE_LLAMA", "ALIBI")
INT32_MAX = 2**31 - 1


def renamed(**names):
    """A decorator: the other names that FlashInfer has for an argument, {other: own}."""
    def decorate(function):
        @functools.wraps(function)
        def call(*args, **kwargs):
            for other, own in names.items():
                if other in kwargs:
                    if own in kwargs:
                        raise TypeError(f"{other} and {own} are the same argument")
                    kwargs[own] = kwargs.pop(other)
            return function(*args, **{k: v for k, v in kwargs.items() if k not in GPU_ONLY})
        return call
    return decorate


def as_numpy(name, values):
    """A numpy array of `values`, which may be a list, or a tensor with DLPack."""
    if isinstance(values, np.ndarray):
        return values
    if hasattr(values, "__dlpack__"):
        try:
            return np.from_dlpack(values)
        except (BufferError, RuntimeError, TypeError) as error:
            raise ValueError(f"{name} cannot be read through DLPack: {error}") from None
    return np.asarray(values)


def indices(name, values):
    """A dense array of int32 with one dimension."""
    array = as_numpy(name, values)
    if array.size == 0 and array.ndim == 1:
        return np.zeros(0, np.int32)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise ValueError(f"{name} has dtype {array.dtype} and shape {list(array.shape)}, integers "
                         "of one dimension are needed")
    low, high = int(array.min()), int(array.max())
    if low < -INT32_MAX or high > INT32_MAX:
        raise ValueError(f"{name} has {low if low < 0 else high}, allowed are numbers of 32 bits")
    return np.ascontiguousarray(array, dtype=np.int32)


def floats(name, values):
    """A dense array of float32 with one dimension, or None."""
    if values is None:
        return None
    return np.ascontiguousarray(as_numpy(name, values), dtype=np.float32).reshape(-1)


def dtype_name(data_type):
    """"float16" of a name, a numpy dtype or a torch dtype; None of None."""
    if data_type is None:
        return None
    text = data_type if isinstance(data_type, str) else str(data_type)
    if text.startswith("torch."):
        return text[len("torch."):]
    return text if isinstance(data_type, str) else np.dtype(data_type).name


def dtype_of(array):
    return dtype_name(array.dtype) if hasattr(array, "dtype") else None


def check_dtype(name, array, expected):
    if expected is not None and dtype_of(array) != expected:
        raise ValueError(f"{name} has dtype {dtype_of(array)}, planned was {expected}")


def empty(shape, data_type):
    if data_type == "bfloat16":
        try:
            import ml_dtypes
        except ImportError:
            raise ValueError("numpy has bfloat16 only with the package ml_dtypes: install it, or "
                             "give out= or o_data_type='float32'") from None
        return np.empty(shape, ml_dtypes.bfloat16)
    if data_type not in ("float32", "float16"):
        data_type = "float32"  # of a query that _core will refuse by name
    return np.empty(shape, data_type)


def check_layout(kv_layout):
    if kv_layout not in ("NHD", "HND"):
        raise ValueError(f"kv_layout is {kv_layout!r}, allowed are 'NHD' and 'HND'")
    return kv_layout == "HND"


def check_scales(**scales):
    """FlashInfer's scales of fp8 caches; keys and values here have none."""
    for name, scale in scales.items():
        if scale is not None and scale != 1:
            raise ValueError(f"{name} is {scale}, allowed are None and 1: keys and values are "
                             "float32, float16 or bfloat16")


def split_kv(paged_kv_cache):
    """The pages of keys and of values, of a pair or of one array with axis 1 = (K, V)."""
    if isinstance(paged_kv_cache, (tuple, list)):
        if len(paged_kv_cache) != 2:
            raise ValueError(f"paged_kv_cache has {len(paged_kv_cache)} arrays, allowed are 2")
        return tuple(paged_kv_cache)
    shape = tuple(paged_kv_cache.shape)
    if len(shape) != 5 or shape[1] != 2:
        raise ValueError(f"paged_kv_cache has shape {list(shape)}, allowed are a pair of arrays of "
                         "4 dimensions or one array [pages, 2, ...] of 5")
    return paged_kv_cache[:, 0], paged_kv_cache[:, 1]


def alibi_slopes(num_heads):
    """The slopes of Press et al. (arXiv 2108.12409), for any number of heads."""
    power = 2**int(math.log2(num_heads))
    slopes = [2.0**(-8.0 * (i + 1) / power) for i in range(power)]
    slopes += [2.0**(-4.0 * (2 * i + 1) / power) for i in range(num_heads - power)]
    return np.asarray(slopes, np.float32)


def bind_variant(variant):
    """A variant of load_variant() with its parameters, given or none."""
    if variant is None or isinstance(variant, _core.BoundVariant):
        return variant
    if not isinstance(variant, Variant):
        raise ValueError(f"variant is a {type(variant).__name__}, allowed is what load_variant() "
                         "returns")
    return variant()


class Variant:
    """A variant of attention in a shared object. Call it with the parameters, the bytes of its
    struct (for a struct of floats: np.float32([4, 512, 0.5])), and give the result to plan()."""

    def __init__(self, loaded):
        self._loaded = loaded
        self.name, self.params_bytes = loaded.name, loaded.params_bytes
        self.use_softmax = loaded.use_softmax

    def __call__(self, params=b""):
        return self._loaded.bind(bytes(memoryview(params).cast("B")) if params is not None else b"")

    def __repr__(self):
        return f"<variant {self.name}, {self.params_bytes} bytes of parameters>"


def load_variant(path, name=None):
    """The variant of the shared object that `kvasir attention build` made; with several in it, the
    one of this name. Loading runs the object's code: load only what you would run."""
    variants = {loaded.name: loaded for loaded in _core.load_variants(os.fspath(path))}
    if name is None and len(variants) == 1:
        return Variant(*variants.values())
    if name not in variants:
        raise ValueError(f"name is {name!r}, {os.fspath(path)} has {', '.join(variants)}")
    return Variant(variants[name])


def make_spec(num_qo_heads, num_kv_heads, head_dim, *, head_dim_vo=None, causal=False,
              window_left=-1, logits_soft_cap=None, sm_scale=None, pos_encoding_mode="NONE",
              rope_scale=None, rope_theta=None, sinks=None, mask=None, variant=None):
    """The fields of AttentionSpec."""
    if pos_encoding_mode not in POSITIONS_MODES:
        raise ValueError(f"pos_encoding_mode is {pos_encoding_mode!r}, allowed are "
                         f"{', '.join(POSITIONS_MODES)}")
    spec = {"num_qo_heads": num_qo_heads, "num_kv_heads": num_kv_heads, "head_dim": head_dim,
            "head_dim_vo": head_dim if head_dim_vo is None else head_dim_vo,
            "causal": bool(causal), "window_left": window_left,
            "logits_soft_cap": logits_soft_cap or 0.0, "sinks": floats("sinks", sinks),
            "sm_scale": 1 / math.sqrt(max(head_dim, 1)) if sm_scale is None else sm_scale,
            "variant": bind_variant(variant)}
    if pos_encoding_mode == "ROPE_LLAMA":
        spec["rope_theta"] = 1e4 if rope_theta is None else rope_theta
        spec["rope_scale"] = 1.0 if rope_scale is None else rope_scale
    elif pos_encoding_mode == "ALIBI" and num_qo_heads > 0:
        spec["alibi_slopes"] = alibi_slopes(num_qo_heads)
    if mask is not None:
        spec["packed_custom_mask"], spec["mask_indptr"] = mask
    return spec


def kv_lens(kv_indptr, kv_last_page_len, page_size):
    """Tokens of each sequence, int64; what does not fit together is left to _core to refuse."""
    pages = np.diff(kv_indptr.astype(np.int64))
    count = min(len(pages), len(kv_last_page_len))
    return np.where(pages[:count] > 0,
                    (pages[:count] - 1) * page_size + kv_last_page_len[:count], 0)


def trim_pages(kv_indptr, kv_indices, kv_len_arr, page_size):
    """Page table and kv_last_page_len of sequences of known lengths, whose lists may be longer."""
    indptr, ids = indices("kv_indptr", kv_indptr), indices("kv_indices", kv_indices)
    lens = indices("kv_len_arr", kv_len_arr).astype(np.int64)
    if len(indptr) != len(lens) + 1:
        raise ValueError(f"kv_indptr has {len(indptr)} entries, batch + 1 = {len(lens) + 1} are "
                         "needed")
    pages, used = np.diff(indptr.astype(np.int64)), -(-lens // max(page_size, 1))
    for b in np.flatnonzero((lens < 0) | (used > pages))[:1]:
        raise ValueError(f"kv_len_arr[{b}] is {lens[b]}, its {pages[b]} pages of {page_size} "
                         f"tokens allow 0 to {max(pages[b], 0) * page_size}")
    last = np.where(used > 0, lens - (used - 1) * page_size, page_size).astype(np.int32)
    if np.array_equal(used, pages):
        return indptr, ids, last
    lists = [ids[begin:begin + count] for begin, count in zip(indptr[:-1], used)]
    used_indptr = np.concatenate([[0], np.cumsum(used)]).astype(np.int32)
    return used_indptr, np.concatenate(lists).astype(np.int32), last


def pack_mask(custom_mask, packed_custom_mask, qo_indptr, lens):
    """The bits of all sequences and where each begins, or None. custom_mask has the booleans of
    all sequences one behind the other, q_len x kv_len each; packed_custom_mask has them packed,
    each sequence from a byte of its own."""
    if custom_mask is None and packed_custom_mask is None:
        return None
    bits = np.diff(qo_indptr.astype(np.int64))[:len(lens)] * lens
    indptr = np.concatenate([[0], np.cumsum((bits + 7) // 8)])
    if indptr[-1] > INT32_MAX:
        raise ValueError(f"custom_mask takes {indptr[-1]} bytes, allowed are {INT32_MAX}")
    if packed_custom_mask is not None:
        packed = np.ascontiguousarray(as_numpy("packed_custom_mask", packed_custom_mask))
        if packed.dtype != np.uint8:
            raise ValueError(f"packed_custom_mask has dtype {packed.dtype}, allowed is uint8")
        return packed.reshape(-1), indptr.astype(np.int32)
    mask = as_numpy("custom_mask", custom_mask).reshape(-1)
    if mask.size != bits.sum():
        raise ValueError(f"custom_mask has {mask.size} entries, the sum of q_len * kv_len = "
                         f"{bits.sum()} is needed")
    ends = np.cumsum(bits)
    parts = [np.packbits(mask[end - count:end].astype(bool), bitorder="little")
             for end, count in zip(ends, bits)]
    packed = np.concatenate(parts) if parts else np.zeros(0, np.uint8)
    return packed, indptr.astype(np.int32)


def finish(out, lse, return_lse):
    return (out, lse) if return_lse else out
