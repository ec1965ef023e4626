"""Block-sparse attention, cascades and multi-head latent attention."""
import math

import numpy as np

from . import _core
from ._arrays import (as_numpy, check_scales, dtype_name, finish, indices, make_spec, renamed,
                      split_kv, trim_pages)
from ._batch import _PagedAttention, _Planned


class BlockSparseAttention(_Planned):
    """Only listed blocks of R rows and C keys of an M x N attention matrix."""

    @renamed()
    def __init__(self, float_workspace_buffer=None):
        super().__init__()

    @renamed()
    def plan(self, indptr, indices, M, N, R, C, num_qo_heads, num_kv_heads, head_dim, *, mask=None,
             packed_mask=None, causal=False, pos_encoding_mode="NONE", window_left=-1,
             logits_soft_cap=None, sm_scale=None, rope_scale=None, rope_theta=None,
             q_data_type=None, kv_data_type=None, o_data_type=None, sinks=None, variant=None):
        """mask [nnz, R, C] of booleans, or packed_mask, the same bits packed without gaps."""
        lists = _int_lists(indptr, indices)
        if mask is not None:
            bits = as_numpy("mask", mask)
            if bits.shape != (lists[1].size, R, C):
                raise ValueError(f"mask has shape {list(bits.shape)}, allowed is "
                                 f"{[lists[1].size, R, C]} = [nnz, R, C]")
            packed_mask = np.packbits(bits.astype(bool).reshape(-1), bitorder="little")
        elif packed_mask is not None:
            packed_mask = np.ascontiguousarray(as_numpy("packed_mask", packed_mask))
        spec = make_spec(num_qo_heads, num_kv_heads, head_dim, causal=causal,
                         window_left=window_left, logits_soft_cap=logits_soft_cap,
                         sm_scale=sm_scale, pos_encoding_mode=pos_encoding_mode,
                         rope_scale=rope_scale, rope_theta=rope_theta, sinks=sinks, variant=variant)
        plan = _core.BlockSparsePlan(spec, M, N, R, C, *lists, packed_mask,
                                     dtype_name(kv_data_type) or "float32")
        self._remember(plan, spec, q_data_type, kv_data_type, o_data_type)

    @renamed()
    def run(self, q, k, v, *, scale_q=None, scale_k=None, scale_v=None, out=None, lse=None,
            return_lse=False):
        check_scales(scale_q=scale_q, scale_k=scale_k, scale_v=scale_v)
        out, lse = self._outputs(q, k, out, lse, return_lse)
        self._plan.run(q, k, v, out, lse)
        return finish(out, lse, return_lse)


class MultiLevelCascadeAttention(_PagedAttention):
    """Sequences that share pages, level by level; the last level is each sequence's own. Nothing
    has to be told: BatchPrefillWithPagedKVCache finds shared pages by itself."""

    @renamed()
    def __init__(self, num_levels, float_workspace_buffer=None, kv_layout="NHD"):
        super().__init__(kv_layout)
        self._num_levels = num_levels

    @renamed(head_dim_qk="head_dim", paged_kv_last_page_len_arr="paged_kv_last_page_len")
    def plan(self, qo_indptr_arr, paged_kv_indptr_arr, paged_kv_indices_arr,
             paged_kv_last_page_len, num_qo_heads, num_kv_heads, head_dim, page_size, *,
             causal=False, pos_encoding_mode="NONE", window_left=-1, logits_soft_cap=None,
             sm_scale=None, rope_scale=None, rope_theta=None, q_data_type=None, kv_data_type=None,
             o_data_type=None, sinks=None):
        arrays = {"qo_indptr_arr": qo_indptr_arr, "paged_kv_indptr_arr": paged_kv_indptr_arr,
                  "paged_kv_indices_arr": paged_kv_indices_arr,
                  "paged_kv_last_page_len": paged_kv_last_page_len}
        for name, levels in arrays.items():
            if len(levels) != self._num_levels:
                raise ValueError(f"{name} has {len(levels)} arrays, num_levels = "
                                 f"{self._num_levels} are needed")
        spec = make_spec(num_qo_heads, num_kv_heads, head_dim, causal=causal,
                         window_left=window_left, logits_soft_cap=logits_soft_cap,
                         sm_scale=sm_scale, pos_encoding_mode=pos_encoding_mode,
                         rope_scale=rope_scale, rope_theta=rope_theta, sinks=sinks)
        lists = [[indices(f"{name}[{i}]", level) for i, level in enumerate(levels)]
                 for name, levels in arrays.items()]
        plan = _core.CascadePlan(spec, *lists, page_size, dtype_name(kv_data_type) or "float32")
        self._remember(plan, spec, q_data_type, kv_data_type, o_data_type)

    @renamed()
    def run(self, q, paged_kv_cache, *, out=None, lse=None, return_lse=False):
        k, v = split_kv(paged_kv_cache)
        out, lse = self._outputs(q, k, out, lse, return_lse)
        self._plan.run(q, k, v, self._is_hnd, out, lse)
        return finish(out, lse, return_lse)


class BatchMLAPagedAttention(_Planned):
    """DeepSeek's latent attention in the absorbed form: one row of ckv and kpe for each token."""

    @renamed()
    def __init__(self, float_workspace_buffer=None):
        super().__init__()

    @renamed()
    def plan(self, qo_indptr, kv_indptr, kv_indices, kv_len_arr, num_heads, head_dim_ckv,
             head_dim_kpe, page_size, causal=False, sm_scale=None, q_data_type=None,
             kv_data_type=None, *, o_data_type=None):
        if sm_scale is None:
            sm_scale = 1 / math.sqrt(head_dim_ckv + head_dim_kpe)
        table = trim_pages(kv_indptr, kv_indices, kv_len_arr, page_size)
        plan = _core.MlaPlan(num_heads, head_dim_ckv, head_dim_kpe, sm_scale, bool(causal),
                             indices("qo_indptr", qo_indptr), *table, page_size,
                             dtype_name(kv_data_type) or "float32")
        spec = {"num_qo_heads": num_heads, "head_dim_vo": head_dim_ckv}
        self._remember(plan, spec, q_data_type, kv_data_type, o_data_type)

    @renamed()
    def run(self, q_nope, q_pe, ckv_cache, kpe_cache, *, out=None, lse=None, return_lse=False):
        out, lse = self._outputs(q_nope, ckv_cache, out, lse, return_lse)
        self._plan.run(q_nope, q_pe, ckv_cache, kpe_cache, out, lse)
        return finish(out, lse, return_lse)


def _int_lists(indptr, ids):
    return indices("indptr", indptr), indices("indices", ids)
