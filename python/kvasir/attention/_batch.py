"""Attention of batches over pages or ragged arrays, and of one sequence."""
import numpy as np

from . import _core
from ._arrays import (check_dtype, check_layout, check_scales, dtype_name, dtype_of, empty, finish,
                      floats, indices, kv_lens, make_spec, pack_mask, renamed, split_kv,
                      trim_pages)


class _Planned:
    """What all classes do: hold a plan, and make outputs for its runs."""

    def __init__(self, kv_layout="NHD"):
        self._is_hnd = check_layout(kv_layout)
        self._plan = None

    def _remember(self, plan, spec, q_data_type, kv_data_type, o_data_type):
        self._plan = plan
        self._out_shape = (plan.row_count, spec["num_qo_heads"], spec["head_dim_vo"])
        self._types = [dtype_name(t) for t in (q_data_type, kv_data_type, o_data_type)]

    def _outputs(self, q, k, out, lse, return_lse):
        if self._plan is None:
            raise ValueError("run() before plan()")
        check_dtype("q", q, self._types[0])
        check_dtype("keys and values", k, self._types[1])
        if out is None:
            out = empty(self._out_shape, self._types[2] or dtype_of(q))
        else:
            check_dtype("out", out, self._types[2])
        if return_lse and lse is None:
            lse = np.empty(self._out_shape[:2], np.float32)
        return out, lse


class _PagedAttention(_Planned):
    def _run(self, q, paged_kv_cache, out, lse, return_lse, sinks=None):
        k, v = split_kv(paged_kv_cache)
        out, lse = self._outputs(q, k, out, lse, return_lse)
        self._plan.run(q, k, v, self._is_hnd, out, lse, floats("sinks", sinks))
        return finish(out, lse, return_lse)


class BatchDecodeWithPagedKVCache(_PagedAttention):
    """Each sequence's last q_len_per_req tokens attend to its pages."""

    @renamed()
    def __init__(self, float_workspace_buffer=None, kv_layout="NHD"):
        super().__init__(kv_layout)

    @renamed(kv_indptr="indptr", paged_kv_indptr="indptr", kv_indices="indices",
             paged_kv_indices="indices", kv_last_page_len="last_page_len",
             paged_kv_last_page_len="last_page_len", head_dim_qk="head_dim")
    def plan(self, indptr, indices, last_page_len, num_qo_heads, num_kv_heads, head_dim, page_size,
             *, head_dim_vo=None, pos_encoding_mode="NONE", window_left=-1, logits_soft_cap=None,
             sm_scale=None, rope_scale=None, rope_theta=None, q_data_type=None, kv_data_type=None,
             o_data_type=None, data_type=None, sinks=None, q_len_per_req=1, variant=None):
        if q_len_per_req < 1:
            raise ValueError(f"q_len_per_req is {q_len_per_req}, allowed is 1 and above")
        table = _page_table(indptr, indices, last_page_len)
        spec = make_spec(num_qo_heads, num_kv_heads, head_dim, head_dim_vo=head_dim_vo, causal=True,
                         window_left=window_left, logits_soft_cap=logits_soft_cap,
                         sm_scale=sm_scale, pos_encoding_mode=pos_encoding_mode,
                         rope_scale=rope_scale, rope_theta=rope_theta, sinks=sinks, variant=variant)
        qo_indptr = np.arange(len(table[2]) + 1, dtype=np.int32) * np.int32(q_len_per_req)
        kv_data_type = kv_data_type or data_type
        plan = _core.BatchPlan(spec, qo_indptr, *table, page_size, _kv_type(kv_data_type))
        self._remember(plan, spec, q_data_type or data_type, kv_data_type, o_data_type)

    @renamed()
    def run(self, q, paged_kv_cache, *, q_scale=None, k_scale=None, v_scale=None, sinks=None,
            out=None, lse=None, return_lse=False, q_len_per_req=None):
        check_scales(q_scale=q_scale, k_scale=k_scale, v_scale=v_scale)
        return self._run(q, paged_kv_cache, out, lse, return_lse, sinks)

    def run_return_lse(self, *args, **kwargs):
        return self.run(*args, return_lse=True, **kwargs)


class BatchPrefillWithPagedKVCache(_PagedAttention):
    """Any queries at the end of each sequence: prefill, append, verification of a draft."""

    @renamed()
    def __init__(self, float_workspace_buffer=None, kv_layout="NHD"):
        super().__init__(kv_layout)

    @renamed(kv_indptr="paged_kv_indptr", indptr="paged_kv_indptr", kv_indices="paged_kv_indices",
             indices="paged_kv_indices", kv_last_page_len="paged_kv_last_page_len",
             last_page_len="paged_kv_last_page_len", head_dim="head_dim_qk")
    def plan(self, qo_indptr, paged_kv_indptr, paged_kv_indices, paged_kv_last_page_len,
             num_qo_heads, num_kv_heads, head_dim_qk, page_size, *, head_dim_vo=None,
             custom_mask=None, packed_custom_mask=None, causal=False, pos_encoding_mode="NONE",
             window_left=-1, logits_soft_cap=None, sm_scale=None, rope_scale=None, rope_theta=None,
             q_data_type=None, kv_data_type=None, o_data_type=None, sinks=None, variant=None):
        qo_indptr = indices("qo_indptr", qo_indptr)
        table = _page_table(paged_kv_indptr, paged_kv_indices, paged_kv_last_page_len)
        mask = pack_mask(custom_mask, packed_custom_mask, qo_indptr,
                         kv_lens(table[0], table[2], page_size))
        spec = make_spec(num_qo_heads, num_kv_heads, head_dim_qk, head_dim_vo=head_dim_vo,
                         causal=causal, window_left=window_left, logits_soft_cap=logits_soft_cap,
                         sm_scale=sm_scale, pos_encoding_mode=pos_encoding_mode,
                         rope_scale=rope_scale, rope_theta=rope_theta, sinks=sinks, mask=mask,
                         variant=variant)
        plan = _core.BatchPlan(spec, qo_indptr, *table, page_size, _kv_type(kv_data_type))
        self._remember(plan, spec, q_data_type, kv_data_type, o_data_type)

    @renamed()
    def run(self, q, paged_kv_cache, *, q_scale=None, k_scale=None, v_scale=None, sinks=None,
            out=None, lse=None, return_lse=False):
        check_scales(q_scale=q_scale, k_scale=k_scale, v_scale=v_scale)
        return self._run(q, paged_kv_cache, out, lse, return_lse, sinks)

    def run_return_lse(self, *args, **kwargs):
        return self.run(*args, return_lse=True, **kwargs)


class BatchAttention(_PagedAttention):
    """Decode, append and prefill in one batch, by lengths (kv_len_arr); run() returns (out, lse)."""

    @renamed()
    def __init__(self, kv_layout="NHD"):
        super().__init__(kv_layout)

    @renamed(head_dim="head_dim_qk")
    def plan(self, qo_indptr, kv_indptr, kv_indices, kv_len_arr, num_qo_heads, num_kv_heads,
             head_dim_qk, head_dim_vo=None, page_size=None, *, causal=False, sm_scale=None,
             logits_soft_cap=None, window_left=-1, pos_encoding_mode="NONE", rope_scale=None,
             rope_theta=None, custom_mask=None, packed_custom_mask=None, q_data_type=None,
             kv_data_type=None, o_data_type=None, sinks=None, variant=None):
        if page_size is None:
            raise ValueError("page_size is missing")
        qo_indptr = indices("qo_indptr", qo_indptr)
        table = trim_pages(kv_indptr, kv_indices, kv_len_arr, page_size)
        mask = pack_mask(custom_mask, packed_custom_mask, qo_indptr,
                         indices("kv_len_arr", kv_len_arr).astype(np.int64))
        spec = make_spec(num_qo_heads, num_kv_heads, head_dim_qk, head_dim_vo=head_dim_vo,
                         causal=causal, window_left=window_left, logits_soft_cap=logits_soft_cap,
                         sm_scale=sm_scale, pos_encoding_mode=pos_encoding_mode,
                         rope_scale=rope_scale, rope_theta=rope_theta, sinks=sinks, mask=mask,
                         variant=variant)
        plan = _core.BatchPlan(spec, qo_indptr, *table, page_size, _kv_type(kv_data_type))
        self._remember(plan, spec, q_data_type, kv_data_type, o_data_type)

    @renamed()
    def run(self, q, kv_cache, out=None, lse=None, *, k_scale=None, v_scale=None, sinks=None,
            return_lse=True):
        check_scales(k_scale=k_scale, v_scale=v_scale)
        return self._run(q, kv_cache, out, lse, return_lse, sinks)


class BatchPrefillWithRaggedKVCache(_Planned):
    """Keys and values one sequence behind the other, without pages."""

    @renamed()
    def __init__(self, float_workspace_buffer=None, kv_layout="NHD"):
        super().__init__(kv_layout)

    @renamed(head_dim="head_dim_qk")
    def plan(self, qo_indptr, kv_indptr, num_qo_heads, num_kv_heads, head_dim_qk, *,
             head_dim_vo=None, custom_mask=None, packed_custom_mask=None, causal=False,
             pos_encoding_mode="NONE", window_left=-1, logits_soft_cap=None, sm_scale=None,
             rope_scale=None, rope_theta=None, q_data_type=None, kv_data_type=None,
             o_data_type=None, sinks=None, variant=None):
        qo_indptr, kv_indptr = indices("qo_indptr", qo_indptr), indices("kv_indptr", kv_indptr)
        mask = pack_mask(custom_mask, packed_custom_mask, qo_indptr,
                         np.diff(kv_indptr.astype(np.int64)))
        spec = make_spec(num_qo_heads, num_kv_heads, head_dim_qk, head_dim_vo=head_dim_vo,
                         causal=causal, window_left=window_left, logits_soft_cap=logits_soft_cap,
                         sm_scale=sm_scale, pos_encoding_mode=pos_encoding_mode,
                         rope_scale=rope_scale, rope_theta=rope_theta, sinks=sinks, mask=mask,
                         variant=variant)
        plan = _core.BatchPlan(spec, qo_indptr, kv_indptr, None, None, 1, _kv_type(kv_data_type))
        self._remember(plan, spec, q_data_type, kv_data_type, o_data_type)

    @renamed()
    def run(self, q, k, v, *, q_scale=None, k_scale=None, v_scale=None, sinks=None, out=None,
            lse=None, return_lse=False):
        check_scales(q_scale=q_scale, k_scale=k_scale, v_scale=v_scale)
        out, lse = self._outputs(q, k, out, lse, return_lse)
        self._plan.run(q, k, v, self._is_hnd, out, lse, floats("sinks", sinks))
        return finish(out, lse, return_lse)

    def run_return_lse(self, *args, **kwargs):
        return self.run(*args, return_lse=True, **kwargs)


@renamed()
def single_prefill_with_kv_cache(q, k, v, *, custom_mask=None, packed_custom_mask=None,
                                 causal=False, kv_layout="NHD", pos_encoding_mode="NONE",
                                 window_left=-1, logits_soft_cap=None, sm_scale=None,
                                 rope_scale=None, rope_theta=None, q_scale=None, k_scale=None,
                                 v_scale=None, o_dtype=None, sinks=None, variant=None, out=None,
                                 lse=None, return_lse=False):
    """One sequence: q [q_len, num_qo_heads, head_dim], k and v [kv_len, num_kv_heads, head_dim]
    or, as HND, [num_kv_heads, kv_len, head_dim]."""
    is_hnd = check_layout(kv_layout)
    shapes = {name: tuple(x.shape) for name, x in (("q", q), ("k", k), ("v", v))}
    for name, shape in shapes.items():
        if len(shape) != 3:
            raise ValueError(f"{name} has shape {list(shape)}, allowed are 3 dimensions")
    kv_len, num_kv_heads = shapes["k"][::-1][1:] if is_hnd else shapes["k"][:2]
    attention = BatchPrefillWithRaggedKVCache(kv_layout=kv_layout)
    attention.plan([0, shapes["q"][0]], [0, kv_len], shapes["q"][1], num_kv_heads, shapes["q"][2],
                   head_dim_vo=shapes["v"][2], custom_mask=custom_mask,
                   packed_custom_mask=packed_custom_mask, causal=causal,
                   pos_encoding_mode=pos_encoding_mode, window_left=window_left,
                   logits_soft_cap=logits_soft_cap, sm_scale=sm_scale, rope_scale=rope_scale,
                   rope_theta=rope_theta, o_data_type=o_dtype, sinks=sinks, variant=variant)
    return attention.run(q, k, v, q_scale=q_scale, k_scale=k_scale, v_scale=v_scale, out=out,
                         lse=lse, return_lse=return_lse)


@renamed()
def single_decode_with_kv_cache(q, k, v, kv_layout="NHD", pos_encoding_mode="NONE", *,
                                window_left=-1, logits_soft_cap=None, sm_scale=None,
                                rope_scale=None, rope_theta=None, q_scale=None, k_scale=None,
                                v_scale=None, sinks=None, variant=None, out=None, lse=None,
                                return_lse=False):
    """The query of one sequence's last token, q [num_qo_heads, head_dim]."""
    if len(q.shape) != 2:
        raise ValueError(f"q has shape {list(q.shape)}, allowed is [num_qo_heads, head_dim]")
    one = [None if x is None else x[None] for x in (out, lse)]
    results = single_prefill_with_kv_cache(
        q[None], k, v, causal=True, kv_layout=kv_layout, pos_encoding_mode=pos_encoding_mode,
        window_left=window_left, logits_soft_cap=logits_soft_cap, sm_scale=sm_scale,
        rope_scale=rope_scale, rope_theta=rope_theta, q_scale=q_scale, k_scale=k_scale,
        v_scale=v_scale, sinks=sinks, variant=variant, out=one[0], lse=one[1], return_lse=True)
    out, lse = (given if given is not None else made[0] for given, made in
                zip((out, lse), results))
    return finish(out, lse, return_lse)


def _kv_type(kv_data_type):
    return dtype_name(kv_data_type) or "float32"


def _page_table(indptr, ids, last_page_len):
    return (indices("kv_indptr", indptr), indices("kv_indices", ids),
            indices("kv_last_page_len", last_page_len))
