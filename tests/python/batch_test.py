"""Batches over pages and ragged arrays against float64."""
import math

import ml_dtypes
import numpy as np
import pytest

from kvasir import attention
from reference import Batch
from reference import attention as truth

F32 = 5e-6  # as in kvasir/attention/batch_attention_test.cc, relative to outputs around 1
LENS = [(1, 45), (7, 33), (16, 16), (1, 0), (0, 20), (5, 301)]


def close(actual, expected, tolerance=F32):
    np.testing.assert_allclose(np.asarray(actual, np.float64), expected, rtol=tolerance,
                               atol=tolerance)


def prefill(batch, **options):
    wrapper = attention.BatchPrefillWithPagedKVCache(kv_layout=batch.layout)
    wrapper.plan(batch.qo_indptr, batch.indptr, batch.indices, batch.last, *batch.heads, batch.dim,
                 batch.page_size, head_dim_vo=batch.v[0].shape[-1], **options)
    return wrapper


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("layout", ["NHD", "HND"])
@pytest.mark.parametrize("page_size", [1, 5, 16, 32])
def test_prefill_with_pages(dtype, layout, page_size):
    batch = Batch(LENS, dtype=dtype, layout=layout, page_size=page_size, dim=24)
    out, lse = prefill(batch, causal=True).run(batch.all_q, batch.cache, return_lse=True)
    expected, expected_lse = batch.reference(causal=True)
    close(out, expected)
    close(lse, expected_lse)
    assert out.dtype == np.float32


@pytest.mark.parametrize("options, reference", [
    ({}, {}),
    ({"window_left": 9}, {"window_left": 9}),
    ({"logits_soft_cap": 3.0}, {"soft_cap": 3.0}),
    ({"sm_scale": 0.4}, {"sm_scale": 0.4}),
    ({"sinks": [0.5, -1.0, 2.0, -np.inf]}, {"sinks": [0.5, -1.0, 2.0, -np.inf]}),
    ({"pos_encoding_mode": "ALIBI"}, {"slopes": [2.0**-2, 2.0**-4, 2.0**-6, 2.0**-8]}),
    ({"pos_encoding_mode": "ROPE_LLAMA"}, {"rope": (1e4, 1.0)}),
    ({"pos_encoding_mode": "ROPE_LLAMA", "rope_theta": 5e5, "rope_scale": 2.0},
     {"rope": (5e5, 2.0)}),
])
@pytest.mark.parametrize("causal", [False, True])
def test_variants(options, reference, causal):
    batch = Batch(LENS, seed=1)
    out, lse = prefill(batch, causal=causal, **options).run(batch.all_q, batch.cache,
                                                            return_lse=True)
    expected, expected_lse = batch.reference(causal=causal, **reference)
    close(out, expected, 2e-5)
    close(lse, expected_lse, 2e-5)


@pytest.mark.parametrize("is_packed", [False, True])
def test_custom_mask(is_packed):
    batch = Batch([(3, 11), (1, 40), (6, 7)], seed=2)
    rng = np.random.default_rng(3)
    masks = [rng.random(lens) < 0.6 for lens in batch.lens]
    masks[0][1] = False  # a row that sees nothing
    flat = np.concatenate([m.reshape(-1) for m in masks])
    bounds = np.concatenate([[0], np.cumsum([m.size for m in masks])])
    mask = ({"packed_custom_mask": attention.segment_packbits(flat, bounds)[0]} if is_packed
            else {"custom_mask": flat})
    out, lse = prefill(batch, **mask).run(batch.all_q, batch.cache, return_lse=True)
    expected, expected_lse = batch.reference(masks=masks)
    close(out, expected)
    close(lse, expected_lse)
    assert np.isneginf(lse[1]).all() and (out[1] == 0).all()


def test_values_of_another_size():
    batch = Batch(LENS, dim=48, v_dim=20)
    close(prefill(batch).run(batch.all_q, batch.cache), batch.reference()[0])


@pytest.mark.parametrize("suffix", ["", "Wrapper"])
def test_decode(suffix):
    batch = Batch([(1, 45), (1, 1), (1, 300)], heads=(6, 2))
    wrapper = getattr(attention, "BatchDecodeWithPagedKVCache" + suffix)(None, "NHD")
    names = {"paged_kv_indptr": batch.indptr, "kv_indices": batch.indices,
             "kv_last_page_len": batch.last}
    wrapper.plan(num_qo_heads=6, num_kv_heads=2, head_dim=32, page_size=16, non_blocking=True,
                 **names)
    expected, expected_lse = batch.reference(causal=True)
    both = np.stack(batch.cache, axis=1)  # one array with axis 1 = (K, V): strides of a wider one
    for cache in (batch.cache, both):
        out, lse = wrapper.run(batch.all_q, cache, return_lse=True)
        close(out, expected)
        close(lse, expected_lse)
    sinks = np.array([1, 0, 2, -1, 0.5, 3], np.float32)
    close(wrapper.run(batch.all_q, batch.cache, sinks=sinks),
          batch.reference(causal=True, sinks=sinks)[0])
    close(wrapper.run(batch.all_q, batch.cache, sinks=2 * sinks),
          batch.reference(causal=True, sinks=2 * sinks)[0])
    close(wrapper.run(batch.all_q, batch.cache), expected)


def test_several_queries_per_request():
    batch = Batch([(3, 45), (3, 3)])
    wrapper = attention.BatchDecodeWithPagedKVCache()
    wrapper.plan(batch.indptr, batch.indices, batch.last, 4, 2, 32, 16, q_len_per_req=3)
    close(wrapper.run(batch.all_q, batch.cache), batch.reference(causal=True)[0])


def test_batch_attention_by_lengths():
    batch = Batch(LENS)
    wrapper = attention.BatchAttention()
    # One more page for each sequence than its length takes.
    lists = [list(batch.indices[a:b]) + [0] for a, b in zip(batch.indptr, batch.indptr[1:])]
    indptr = batch.indptr + np.arange(len(LENS) + 1)
    wrapper.plan(batch.qo_indptr, indptr, sum(lists, []), batch.kv_lens, 4, 2, 32, 32, 16,
                 causal=True)
    out, lse = wrapper.run(batch.all_q, batch.cache)
    expected, expected_lse = batch.reference(causal=True)
    close(out, expected)
    close(lse, expected_lse)


@pytest.mark.parametrize("layout", ["NHD", "HND"])
def test_ragged(layout):
    batch = Batch(LENS, dtype=np.float16)
    k, v = np.concatenate(batch.k), np.concatenate(batch.v)
    if layout == "HND":
        k, v = (np.ascontiguousarray(x.transpose(1, 0, 2)) for x in (k, v))
    wrapper = attention.BatchPrefillWithRaggedKVCacheWrapper(np.zeros(8, np.uint8), layout)
    wrapper.plan(batch.qo_indptr, batch.kv_indptr, 4, 2, 32, causal=True)
    out, lse = wrapper.run(batch.all_q, k, v, return_lse=True)
    expected, expected_lse = batch.reference(causal=True)
    close(out, expected)
    close(lse, expected_lse)


def test_single_sequences():
    batch = Batch([(9, 77)], heads=(8, 2))
    q, k, v = batch.q[0], batch.k[0], batch.v[0]
    out, lse = attention.single_prefill_with_kv_cache(q, k, v, causal=True, return_lse=True)
    expected, expected_lse = batch.reference(causal=True)
    close(out, expected)
    close(lse, expected_lse)
    mask = np.random.default_rng(0).random((9, 77)) < 0.5
    close(attention.single_prefill_with_kv_cache(q, k, v, custom_mask=mask),
          truth(q, k, v, mask=mask)[0])
    swapped = [np.ascontiguousarray(x.swapaxes(0, 1)) for x in (k, v)]
    one, one_lse = attention.single_decode_with_kv_cache(q[-1], *swapped, kv_layout="HND",
                                                         return_lse=True)
    close(one, expected[-1])
    close(one_lse, expected_lse[-1])


def test_half_precision_queries_and_outputs():
    batch = Batch([(4, 60)])
    wrapper = prefill(batch, causal=True)
    for dtype, bits in ((np.float16, 10), (ml_dtypes.bfloat16, 7)):
        q = batch.all_q.astype(dtype)
        expected = truth(q, batch.k[0], batch.v[0], causal=True)[0]
        out = wrapper.run(q, batch.cache)
        assert out.dtype == dtype
        close(out, expected, 1.01 * 2.0**-(bits + 1))  # half a step of the last bit
        full = np.empty(out.shape, np.float32)
        assert wrapper.run(q, batch.cache, out=full) is full
        np.testing.assert_array_equal(full.astype(dtype), out)


def test_threads_and_batches_change_no_bit():
    batch = Batch(LENS, seed=5)
    whole = prefill(batch, causal=True).run(batch.all_q, batch.cache)
    for threads in (1, 3):
        attention.set_num_threads(threads)
        assert attention.get_num_threads() == threads
        wrapper = prefill(batch, causal=True)
        attention.set_num_threads(threads + 1)  # more than it was planned for
        np.testing.assert_array_equal(wrapper.run(batch.all_q, batch.cache), whole)
    alone = attention.single_prefill_with_kv_cache(batch.q[-1], batch.k[-1], batch.v[-1],
                                                   causal=True)
    np.testing.assert_array_equal(alone, whole[-5:])


def test_sm_scale_is_one_over_root_of_head_dim():
    batch = Batch([(2, 30)])
    close(prefill(batch, sm_scale=1 / math.sqrt(32)).run(batch.all_q, batch.cache),
          batch.reference()[0])
