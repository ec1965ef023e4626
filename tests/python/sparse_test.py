"""Block-sparse attention, cascades, latent attention, merging and appending against float64."""
import ml_dtypes
import numpy as np
import pytest

from batch_test import close
from kvasir import attention
from reference import Batch
from reference import attention as truth


@pytest.mark.parametrize("with_mask", [False, True])
@pytest.mark.parametrize("R, C", [(1, 1), (4, 8), (3, 16)])
def test_block_sparse(with_mask, R, C):
    M, N = 12, 48
    rng = np.random.default_rng(R)
    q = rng.standard_normal((M, 4, 32)).astype(np.float32)
    k, v = (rng.standard_normal((N, 2, 32)).astype(np.float32) for _ in range(2))
    blocks = rng.random((M // R, N // C)) < 0.5
    blocks[0] = False  # rows that see nothing
    lists = [np.flatnonzero(row) for row in blocks]
    indptr = np.concatenate([[0], np.cumsum([len(ids) for ids in lists])])
    indices = np.concatenate(lists)
    seen = np.repeat(np.repeat(blocks, R, axis=0), C, axis=1)
    mask = None
    if with_mask:
        mask = rng.random((len(indices), R, C)) < 0.5
        dense = np.zeros((M, N), bool)
        for row, (begin, end) in enumerate(zip(indptr, indptr[1:])):
            for i in range(begin, end):
                column = indices[i]
                dense[row * R:(row + 1) * R, column * C:(column + 1) * C] = mask[i]
        seen = dense
    wrapper = attention.BlockSparseAttentionWrapper(None)
    wrapper.plan(indptr, indices, M, N, R, C, 4, 2, 32, mask=mask)
    out, lse = wrapper.run(q, k, v, return_lse=True)
    expected, expected_lse = truth(q, k, v, mask=seen)
    close(out, expected)
    close(lse, expected_lse)


# Three sequences behind a prefix of two levels; the second level of the last is empty.
def cascade(prefix, page_size=8):
    own = [(2, 21), (1, 9), (3, 30)]
    parts = [(0, prefix), (0, 16), (0, 0)] + own
    batch = Batch(parts, page_size=page_size, seed=4)
    lists = [batch.indices[a:b] for a, b in zip(batch.indptr, batch.indptr[1:])]
    def level(sequences, rows):
        return (np.array(rows), np.concatenate([[0], np.cumsum([len(lists[i]) for i in sequences])]),
                np.concatenate([lists[i] for i in sequences]), batch.last[list(sequences)])
    levels = [level([0], [0, 6]), level([1, 2], [0, 3, 6]), level([3, 4, 5], [0, 2, 3, 6])]
    joined = [[0, 1, 3], [0, 1, 4], [0, 2, 5]]
    results = [truth(batch.q[chain[-1]], np.concatenate([batch.k[i] for i in chain]),
                     np.concatenate([batch.v[i] for i in chain]), causal=True) for chain in joined]
    expected = tuple(np.concatenate(part) for part in zip(*results))
    return batch, levels, np.concatenate([batch.q[i] for i in (3, 4, 5)]), expected


@pytest.mark.parametrize("prefix, is_flat", [(24, True), (0, True), (19, False)])
def test_cascade(prefix, is_flat):
    batch, levels, q, (expected, expected_lse) = cascade(prefix)
    wrapper = attention.MultiLevelCascadeAttentionWrapper(3, None, "NHD")
    wrapper.plan(*[list(x) for x in zip(*levels)], 4, 2, 32, 8, causal=True)
    assert wrapper._plan.is_flat == is_flat
    out, lse = wrapper.run(q, batch.cache, return_lse=True)
    close(out, expected)
    close(lse, expected_lse)
    close(wrapper.run(q, batch.cache), expected)


@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16])
def test_mla(dtype):
    heads, ckv_dim, kpe_dim, page_size = 5, 512, 64, 16
    batch = Batch([(1, 50), (4, 20)], heads=(heads, 1), dim=ckv_dim + kpe_dim,
                  page_size=page_size, dtype=dtype, seed=6)
    ckv, kpe = (np.ascontiguousarray(x[:, :, 0]) for x in
                (batch.k_cache[..., :ckv_dim], batch.k_cache[..., ckv_dim:]))
    wrapper = attention.BatchMLAPagedAttentionWrapper(None)
    wrapper.plan(batch.qo_indptr, batch.indptr, batch.indices, batch.kv_lens, heads, ckv_dim,
                 kpe_dim, page_size, True, 0.07)
    q = batch.all_q
    results = [truth(batch.q[b], batch.k[b], batch.k[b][..., :ckv_dim], causal=True,
                     sm_scale=0.07) for b in range(2)]
    expected, expected_lse = (np.concatenate(part) for part in zip(*results))
    # Once as parts of wider arrays, once dense.
    for q_parts in ((q[..., :ckv_dim], q[..., ckv_dim:]),
                    (q[..., :ckv_dim].copy(), q[..., ckv_dim:].copy())):
        out, lse = wrapper.run(*q_parts, ckv, kpe, return_lse=True)
        close(out, expected, 1e-5)
        close(lse, expected_lse, 1e-5)


def split_results(parts):
    """Results over parts of the keys, and over all of them."""
    batch = Batch([(4, 90)], seed=7)
    bounds = np.linspace(0, 90, parts + 1).astype(int)
    results = [truth(batch.q[0], batch.k[0][a:b], batch.v[0][a:b])
               for a, b in zip(bounds, bounds[1:])]
    dense = [tuple(np.ascontiguousarray(x, np.float32) for x in result) for result in results]
    return dense, batch.reference()


def test_merge():
    (a, b), (expected, expected_lse) = split_results(2)
    v, s = attention.merge_state(*a, *b)
    close(v, expected)
    close(s, expected_lse)
    v, s = a[0].copy(), a[1].copy()
    mask = np.array([True, False, True, True])
    attention.merge_state_in_place(v, s, *b, mask=mask)
    close(v[mask], expected[mask])
    close(s[mask], expected_lse[mask])
    np.testing.assert_array_equal(v[1], a[0][1])
    attention.merge_state_in_place(v, s, *b, mask=~mask)
    close(v, expected)


def test_merge_with_what_saw_no_key():
    (a, b), _ = split_results(2)
    nothing = np.full_like(a[0], np.nan), np.full_like(a[1], -np.inf)
    for pair in ((a, nothing), (nothing, a)):
        v, s = attention.merge_state(*pair[0], *pair[1])
        np.testing.assert_array_equal(v, a[0])
        np.testing.assert_array_equal(s, a[1])
    v, s = attention.merge_state(*nothing, *nothing)
    assert (v == 0).all() and np.isneginf(s).all()


def test_merge_states():
    parts, (expected, expected_lse) = split_results(5)
    stacked = [np.stack(x, axis=1) for x in zip(*parts)]
    v, s = attention.merge_states(*stacked)
    close(v, expected)
    close(s, expected_lse)


@pytest.mark.parametrize("new, memory", [(np.float32, np.float32), (np.float32, np.float16),
                                         (ml_dtypes.bfloat16, ml_dtypes.bfloat16),
                                         (np.float16, ml_dtypes.bfloat16)])
@pytest.mark.parametrize("layout", ["NHD", "HND"])
def test_append(new, memory, layout):
    rng = np.random.default_rng(8)
    shape = (7, 4, 2, 10) if layout == "NHD" else (7, 2, 4, 10)
    caches = [np.full(shape, np.nan).astype(memory) for _ in range(2)]
    expected = [cache.copy() for cache in caches]
    k, v = (rng.standard_normal((9, 2, 10)).astype(new) for _ in range(2))
    indptr, indices, last = np.array([0, 3, 5]), np.array([6, 0, 2, 1, 4]), np.array([2, 4])
    seq_lens = attention.get_seq_lens(indptr, last, 4)
    assert list(seq_lens) == [10, 8]
    sequences, positions = attention.get_batch_indices_positions([0, 6, 9], seq_lens, 9)
    assert list(sequences) == [0] * 6 + [1] * 3 and list(positions) == [4, 5, 6, 7, 8, 9, 5, 6, 7]
    for i in range(9):
        page = indices[indptr[sequences[i]] + positions[i] // 4]
        for cache, numbers in zip(expected, (k, v)):
            pages = cache if layout == "NHD" else cache.transpose(0, 2, 1, 3)
            pages[page, positions[i] % 4] = numbers[i].astype(np.float32).astype(memory)
    attention.append_paged_kv_cache(k, v, sequences, positions, tuple(caches), indices, indptr,
                                    last, layout)
    for cache, numbers in zip(caches, expected):
        np.testing.assert_array_equal(cache.view(np.uint8), numbers.view(np.uint8))


def test_append_latent_rows():
    rng = np.random.default_rng(9)
    ckv, kpe = np.zeros((3, 4, 512), np.float32), np.zeros((3, 4, 64), np.float32)
    new = rng.standard_normal((2, 576)).astype(np.float32)
    attention.append_paged_mla_kv_cache(new[:, :512], new[:, 512:], [0, 0], [3, 4], ckv, kpe,
                                        [2, 0], [0, 2], [1])
    for token, place in enumerate(((2, 3), (0, 0))):
        np.testing.assert_array_equal(ckv[place], new[token, :512])
        np.testing.assert_array_equal(kpe[place], new[token, 512:])
    assert np.count_nonzero(ckv) == 1024 and np.count_nonzero(kpe) == 128
