"""Merging results, appending to pages, threads."""
import os

import numpy as np

from . import _core
from ._arrays import (as_numpy, check_layout, dtype_of, empty, indices, kv_lens, renamed, split_kv)


def merge_state(v_a, s_a, v_b, s_b):
    """Attention over the union of two disjoint sets of keys, from the results over each: v [rows,
    heads, head_dim] and s [rows, heads], the natural-log LSE. Returns (v, s)."""
    v = empty(tuple(v_a.shape), dtype_of(v_a))
    s = np.empty(tuple(s_a.shape), np.float32)
    _core.merge_state(v_a, s_a, v_b, s_b, v, s)
    return v, s


def merge_state_in_place(v, s, v_other, s_other, mask=None):
    """Merges the others into v and s; mask [rows]: rows with 0 stay as they are."""
    if mask is not None:
        mask = np.ascontiguousarray(as_numpy("mask", mask), dtype=bool).view(np.uint8)
    _core.merge_state_in_place(v, s, v_other, s_other, mask)


def merge_states(v, s):
    """Merges v [rows, num_states, heads, head_dim] and s [rows, num_states, heads] over
    num_states. Returns (v, s)."""
    if len(v.shape) != 4:
        raise ValueError(f"v has shape {list(v.shape)}, allowed is [rows, num_states, heads, "
                         "head_dim]")
    rows, _, heads, dim = v.shape
    v_merged = empty((rows, heads, dim), dtype_of(v))
    s_merged = np.empty((rows, heads), np.float32)
    _core.merge_states(v, s, v_merged, s_merged)
    return v_merged, s_merged


def append_paged_kv_cache(append_key, append_value, batch_indices, positions, paged_kv_cache,
                          kv_indices, kv_indptr, kv_last_page_len=None, kv_layout="NHD"):
    """Writes new keys and values [tokens, num_kv_heads, head_dim] into the pages, token i as
    position positions[i] of sequence batch_indices[i], rounded to the pages' type.
    kv_last_page_len is not looked at: the page list says what has room."""
    k, v = split_kv(paged_kv_cache)
    _core.append_paged_kv_cache(append_key, append_value,
                                indices("batch_indices", batch_indices),
                                indices("positions", positions), k, v, check_layout(kv_layout),
                                indices("kv_indices", kv_indices), indices("kv_indptr", kv_indptr))


def append_paged_mla_kv_cache(append_ckv, append_kpe, batch_indices, positions, ckv_cache,
                              kpe_cache, kv_indices, kv_indptr, kv_last_page_len=None):
    """The same for latent rows: append_ckv [tokens, head_dim_ckv], append_kpe [tokens,
    head_dim_kpe]; caches [pages, page_size, head_dim_ckv] and [pages, page_size, head_dim_kpe]."""
    table = (indices("batch_indices", batch_indices), indices("positions", positions))
    pages = (indices("kv_indices", kv_indices), indices("kv_indptr", kv_indptr))
    for name, array, rank in (("append_ckv", append_ckv, 2), ("append_kpe", append_kpe, 2),
                              ("ckv_cache", ckv_cache, 3), ("kpe_cache", kpe_cache, 3)):
        if len(array.shape) != rank:
            raise ValueError(f"{name} has shape {list(array.shape)}, allowed are {rank} "
                             "dimensions")
    for new, cache in ((append_ckv, ckv_cache), (append_kpe, kpe_cache)):
        _core.append_paged_kv_cache(new[:, None], None, *table, cache[:, :, None], None, False,
                                    *pages)


def get_seq_lens(kv_indptr, kv_last_page_len, page_size):
    """Tokens of each sequence of a page table."""
    return kv_lens(indices("kv_indptr", kv_indptr),
                   indices("kv_last_page_len", kv_last_page_len), page_size).astype(np.int32)


def get_batch_indices_positions(append_indptr, seq_lens, nnz=None):
    """(batch_indices, positions) for append_paged_kv_cache, for rows append_indptr[b] ..
    append_indptr[b + 1] as the last of the seq_lens[b] tokens of sequence b."""
    indptr, lens = indices("append_indptr", append_indptr), indices("seq_lens", seq_lens)
    counts = np.diff(indptr)
    if len(counts) != len(lens) or indptr[0] != 0 or (counts < 0).any() or (counts > lens).any():
        raise ValueError("append_indptr and seq_lens do not fit: allowed are batch + 1 numbers that "
                         "rise from 0, by at most the length of each sequence")
    if nnz is not None and nnz != indptr[-1]:
        raise ValueError(f"nnz is {nnz}, append_indptr ends at {indptr[-1]}")
    batch_indices = np.repeat(np.arange(len(lens), dtype=np.int32), counts)
    offsets = np.arange(indptr[-1], dtype=np.int32) - np.repeat(indptr[1:], counts)
    return batch_indices, offsets + np.repeat(lens, counts)


def segment_packbits(x, indptr, bitorder="little"):
    """Packs each segment x[indptr[i]:indptr[i + 1]] of booleans from a byte of its own. Returns
    the bytes and where each segment begins."""
    if bitorder != "little":
        raise ValueError(f"bitorder is {bitorder!r}, allowed is 'little'")
    bits, bounds = as_numpy("x", x).astype(bool), indices("indptr", indptr)
    parts = [np.packbits(bits[begin:end], bitorder="little")
             for begin, end in zip(bounds[:-1], bounds[1:])]
    packed_indptr = np.concatenate([[0], np.cumsum([part.size for part in parts])])
    packed = np.concatenate(parts) if parts else np.zeros(0, np.uint8)
    return packed, packed_indptr.astype(np.int32)


def set_num_threads(num_threads):
    """Threads of all following calls, the calling one included."""
    _core.set_num_threads(num_threads)


def get_num_threads():
    """Unless set: the cores that this process may use."""
    return _core.get_num_threads()


def cpu_target():
    """The instruction set in use: "portable", "avx2" or "avx512". KVASIR_TARGET forces one."""
    return _core.cpu_target()


os.register_at_fork(after_in_child=_core.forget_pool_after_fork)
