"""What is refused, and that the message names it."""
import numpy as np
import pytest

from kvasir import attention
from reference import Batch

BATCH = Batch([(1, 20), (3, 40)])
PLAN = {"qo_indptr": BATCH.qo_indptr, "paged_kv_indptr": BATCH.indptr,
        "paged_kv_indices": BATCH.indices, "paged_kv_last_page_len": BATCH.last,
        "num_qo_heads": 4, "num_kv_heads": 2, "head_dim_qk": 32, "page_size": 16}


def refused(message, function, *args, **kwargs):
    with pytest.raises(ValueError) as caught:
        function(*args, **kwargs)
    assert message in str(caught.value)


@pytest.mark.parametrize("change, message", [
    ({"head_dim_qk": 577}, "head_dim is 577, allowed is 1 to 576"),
    ({"head_dim_qk": 0}, "head_dim is 0"),
    ({"num_qo_heads": 5}, "num_qo_heads is 5, allowed are positive multiples of num_kv_heads 2"),
    ({"num_kv_heads": -1}, "num_kv_heads is -1"),
    ({"qo_indptr": [0, 2, 1]}, "qo_indptr falls from 2 to 1 at entry 2"),
    ({"qo_indptr": [0, 1]}, "qo_indptr has 2 entries, batch + 1 = 3 are needed"),
    ({"qo_indptr": []}, "qo_indptr is empty"),
    ({"qo_indptr": [0.0, 1.0, 4.0]}, "qo_indptr has dtype float64"),
    ({"qo_indptr": [0, 1, 2**31]}, "qo_indptr has 2147483648"),
    ({"paged_kv_indptr": [0, 2]}, "kv_indptr has 2 entries"),
    ({"paged_kv_indices": [0, 1]}, "kv_indices has 2 entries, kv_indptr asks for 5"),
    ({"paged_kv_indices": [0, 1, -1, 2, 3]}, "kv_indices[2] is -1"),
    ({"paged_kv_last_page_len": [0, 8]}, "kv_last_page_len[0] is 0, allowed is 1 to 16"),
    ({"paged_kv_last_page_len": [17, 8]}, "kv_last_page_len[0] is 17"),
    ({"page_size": 0}, "page_size is 0"),
    ({"window_left": -2}, "window_left is -2"),
    ({"logits_soft_cap": -1.0}, "logits_soft_cap must be 0 or a positive"),
    ({"sm_scale": float("nan")}, "sm_scale is not finite"),
    ({"sinks": [1.0, 2.0]}, "sinks has 2 entries, num_qo_heads = 4 are needed"),
    ({"sinks": [1.0, 2.0, float("nan"), 3.0]}, "sinks[2] is nan"),
    ({"pos_encoding_mode": "ROPE"}, "allowed are NONE, ROPE_LLAMA, ALIBI"),
    ({"pos_encoding_mode": "ROPE_LLAMA", "rope_theta": -1.0}, "rope_theta is -1"),
    ({"pos_encoding_mode": "ROPE_LLAMA", "rope_scale": 0.0}, "rope_scale is 0"),
    ({"custom_mask": np.ones(7, bool)}, "custom_mask has 7 entries"),
    ({"packed_custom_mask": np.ones(3, np.uint8)}, "packed_custom_mask has 3 bytes"),
    ({"packed_custom_mask": np.ones(3, bool)}, "packed_custom_mask has dtype bool"),
    ({"kv_data_type": "int8"}, "kv_data_type is int8"),
])
def test_plans(change, message):
    refused(message, attention.BatchPrefillWithPagedKVCache().plan, **{**PLAN, **change})


def test_a_run_before_a_plan():
    refused("run() before plan()", attention.BatchAttention().run, BATCH.all_q, BATCH.cache)


def test_unknown_arguments_are_type_errors():
    with pytest.raises(TypeError):
        attention.BatchPrefillWithPagedKVCache().plan(**PLAN, casual=True)
    with pytest.raises(TypeError):
        attention.BatchPrefillWithPagedKVCache().plan(**PLAN, kv_indptr=BATCH.indptr)
    refused("kv_layout is 'DHN'", attention.BatchAttention, "DHN")


def planned(**changes):
    wrapper = attention.BatchPrefillWithPagedKVCache()
    wrapper.plan(**{**PLAN, **changes})
    return wrapper


def test_arrays_of_runs():
    q, (k, v) = BATCH.all_q, BATCH.cache
    run = planned().run
    refused("q has shape [3, 4, 32], allowed is [4, 4, 32]", run, q[1:], (k, v))
    refused("q has dtype float64, allowed are float32, float16 and bfloat16", run,
            q.astype(np.float64), (k, v))
    refused("q is a list", run, [1.0], (k, v), out=np.empty((4, 4, 32), np.float32))
    refused("k_cache has shape", run, q, (k[..., :16], v))
    refused("v_cache has dtype float16, k_cache has float32", run, q, (k, v.astype(np.float16)))
    refused("in its last dimension, allowed is 1", run, q,
            (np.repeat(k, 2, axis=-1)[..., ::2], v))
    refused("pages, kv_indices has page", run, q, (k[:2], v[:2]))
    refused("v_cache has shape", run, q, (k, v[:-1]))
    refused("allowed are 2", run, q, (k, v, v))
    refused("k_scale is 0.5", run, q, (k, v), k_scale=0.5)
    frozen = np.empty((4, 4, 32), np.float32)
    frozen.flags.writeable = False
    refused("out is read-only", run, q, (k, v), out=frozen)
    refused("out has shape", run, q, (k, v), out=np.empty((4, 4, 31), np.float32))
    refused("lse has dtype float16", run, q, (k, v), lse=np.empty((4, 4), np.float16))
    refused("q has dtype float32, planned was float16", planned(q_data_type="float16").run, q,
            (k, v))
    refused("planned was bfloat16", planned(kv_data_type="bfloat16").run, q, (k, v))
    swapped = q.astype(">f4")
    refused("q has dtype >f4", run, swapped, (k, v), out=np.empty((4, 4, 32), np.float32))
    crooked = np.frombuffer(b"\0" * (q.nbytes + 1), np.uint8)[1:].view(np.float32)
    refused("q is not aligned", run, crooked.reshape(q.shape), (k, v))


class OnDevice:
    """An array of some accelerator."""
    shape, dtype = (4, 4, 32), np.dtype(np.float32)

    def __dlpack_device__(self):
        return (2, 0)

    def __dlpack__(self, **_):
        raise AssertionError("the device comes first")


def test_devices():
    refused("q is on a device of DLPack type 2, allowed is the memory of the CPU", planned().run,
            OnDevice(), BATCH.cache)


def test_other_classes():
    sparse = attention.BlockSparseAttention()
    heads = (4, 2, 32)
    refused("M is 10, allowed are multiples of R = 4", sparse.plan, [0, 1], [0], 10, 8, 4, 4,
            *heads)
    refused("indptr has 2 entries, M / R + 1 = 3 are needed", sparse.plan, [0, 1], [0], 8, 8, 4, 4,
            *heads)
    refused("indices[0] is 2, allowed is 0 to N / C - 1 = 1", sparse.plan, [0, 1, 1], [2], 8, 8, 4,
            4, *heads)
    refused("mask has shape [1, 4, 3]", sparse.plan, [0, 1, 1], [0], 8, 8, 4, 4, *heads,
            mask=np.ones((1, 4, 3), bool))
    cascade = attention.MultiLevelCascadeAttention(2)
    level = ([0, 2], [0, 1], [0], [5])
    refused("num_levels = 2 are needed", cascade.plan, *[[x] for x in level], *heads, 16)
    refused("window_left looks at positions", cascade.plan, *[[x, x] for x in level], *heads, 16,
            window_left=3)
    refused("level 0: qo_indptr ends at 3", cascade.plan, [[0, 3], [0, 2]],
            *[[x, x] for x in level[1:]], *heads, 16)
    mla = attention.BatchMLAPagedAttention()
    refused("head_dim_ckv is 512 and head_dim_kpe 65", mla.plan, [0, 1], [0, 1], [0], [5], 8, 512,
            65, 16)
    refused("kv_len_arr[0] is 17, its 1 pages of 16 tokens allow 0 to 16", mla.plan, [0, 1],
            [0, 1], [0], [17], 8, 512, 64, 16)
    one = np.zeros((1, 2, 8), np.float32)
    refused("positions[0] is 4", attention.append_paged_kv_cache, one, one, [0], [4],
            np.zeros((2, 2, 4, 2, 8), np.float32), [0], [0, 1])
    refused("batch_indices[0] is 1", attention.append_paged_kv_cache, one, one, [1], [0],
            np.zeros((2, 2, 4, 2, 8), np.float32), [0], [0, 1])
    refused("s_b has shape", attention.merge_state, one, one[..., 0].copy(), one, one[0])
    refused("num_threads is 0", attention.set_num_threads, 0)


def test_empty_batches():
    wrapper = attention.BatchPrefillWithPagedKVCache()
    wrapper.plan([0], [0], [], [], 4, 2, 32, 16)
    out = wrapper.run(np.zeros((0, 4, 32), np.float32), np.zeros((0, 2, 16, 2, 32), np.float32))
    assert out.shape == (0, 4, 32)
