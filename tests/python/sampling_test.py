"""Sampling against float64 with a full sort, and against exact distributions."""
import ml_dtypes
import numpy as np
import pytest

from kvasir import attention
from refusal_test import refused

RNG = np.random.default_rng(21)
LOGITS = (RNG.standard_normal((5, 100)) * 3).astype(np.float32)


def softmax64(logits, temperature=1.0):
    scaled = logits.astype(np.float64) / temperature
    weights = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def cut(row, top_k=0, top_p=1.0, min_p=0.0, joint=False):
    """What the filters leave of one row, renormalised: a full sort and running sums."""
    p = row.astype(np.float64) / row.sum(dtype=np.float64)
    order = np.lexsort((np.arange(len(p)), -p))
    kept = np.zeros(len(p), bool)
    kept[order[:top_k or len(p)]] = True
    mass = np.where(kept, p, 0)
    ranked = p[order] if joint else mass[order] / mass.sum()
    before = np.cumsum(ranked) - ranked
    in_top_p = np.zeros(len(p), bool)
    in_top_p[order] = before < top_p if top_p < 1 else True
    result = np.where(kept & in_top_p & (p >= min_p * p.max()), p, 0)
    return result / result.sum()


def expect_distribution(samples, probs):
    """A chi-square test that a correct sampler fails once in a million times."""
    counts = np.bincount(samples, minlength=len(probs))
    possible = probs > 0
    assert counts[~possible].sum() == 0
    expected = probs[possible] * len(samples)
    rare = expected < 5  # one class together
    observed = np.append(counts[possible][~rare], counts[possible][rare].sum())
    expected = np.append(expected[~rare], max(expected[rare].sum(), 1e-9))
    used = expected > 1e-6
    statistic = ((observed[used] - expected[used])**2 / expected[used]).sum()
    freedom = used.sum() - 1
    spread = 2 / (9 * freedom)  # Wilson and Hilferty
    assert statistic < freedom * (1 - spread + 4.75 * spread**0.5)**3


def test_softmax():
    for temperature in (None, 0.7, [0.5, 1.0, 2.0, 3.0, 0.1]):
        factors = np.reshape(1.0 if temperature is None else temperature, (-1, 1))
        np.testing.assert_allclose(attention.softmax(LOGITS, temperature),
                                   softmax64(LOGITS, factors), rtol=3e-6, atol=1e-9)
    greedy = attention.softmax(LOGITS, 0.0)
    np.testing.assert_array_equal(greedy.argmax(axis=1), LOGITS.argmax(axis=1))
    assert (np.sort(greedy, axis=1)[:, :-1] == 0).all()
    half = LOGITS.astype(ml_dtypes.bfloat16)
    out = np.empty(LOGITS.shape, np.float32)
    assert attention.softmax(half, out=out) is out
    np.testing.assert_allclose(out, softmax64(half), rtol=3e-6, atol=1e-9)


def test_renormalisation():
    probs = attention.softmax(LOGITS)
    for top_k in (1, 7, 100):
        np.testing.assert_allclose(attention.top_k_renorm_probs(probs, top_k),
                                   [cut(row, top_k=top_k) for row in probs], rtol=1e-6)
    for top_p in (0.1, 0.5, 0.93):
        np.testing.assert_allclose(attention.top_p_renorm_probs(probs, top_p),
                                   [cut(row, top_p=top_p) for row in probs], rtol=1e-6)
    masked = attention.top_k_mask_logits(LOGITS, [3, 1, 100, 0, 2])
    assert [np.isfinite(row).sum() for row in masked] == [3, 1, 100, 100, 2]
    np.testing.assert_array_equal(np.where(np.isfinite(masked), masked, LOGITS), LOGITS)


@pytest.mark.parametrize("name, arguments, filters", [
    ("sampling_from_probs", (), {}),
    ("top_k_sampling_from_probs", (5,), {"top_k": 5}),
    ("top_p_sampling_from_probs", (0.7,), {"top_p": 0.7}),
    ("min_p_sampling_from_probs", (0.1,), {"min_p": 0.1}),
    ("top_k_top_p_sampling_from_probs", (8, 0.6), {"top_k": 8, "top_p": 0.6}),
    ("top_k_top_p_sampling_from_probs", (8, 0.6, None, "joint"),
     {"top_k": 8, "top_p": 0.6, "joint": True}),
])
def test_distributions(name, arguments, filters):
    probs = attention.softmax(LOGITS[:1])
    count = 20000
    rows = np.broadcast_to(probs, (count, 100))
    samples = getattr(attention, name)(rows, *arguments, seed=12345)
    expect_distribution(samples, cut(probs[0], **filters))


def test_sampling_from_logits():
    ids = np.zeros(20000, np.int64)
    drawn = attention.top_k_top_p_sampling_from_logits(LOGITS, 20, 0.9, ids, seed=3)
    expect_distribution(drawn, cut(softmax64(LOGITS)[0], top_k=20, top_p=0.9))
    drawn = attention.sampling_from_logits(LOGITS, ids, temperature=2.0, seed=4)
    expect_distribution(drawn, softmax64(LOGITS[0], 2.0))
    np.testing.assert_array_equal(attention.sampling_from_logits(LOGITS, temperature=0.0),
                                  LOGITS.argmax(axis=1))


def test_a_draw_depends_on_row_seed_and_position_alone():
    probs = attention.softmax(LOGITS)
    seeds, positions = [9, 8, 7, 6, 5], [1, 2, 3, 4, 5]
    whole = attention.sampling_from_probs(probs, seed=seeds, offset=positions)
    attention.set_num_threads(1)
    alone = [attention.sampling_from_probs(probs[i:i + 1], seed=seeds[i], position=positions[i])[0]
             for i in range(5)]
    np.testing.assert_array_equal(whole, alone)
    backwards = attention.sampling_from_probs(probs, [4, 3, 2, 1, 0], seed=seeds[::-1],
                                              position=positions[::-1])
    np.testing.assert_array_equal(backwards, whole[::-1])
    # Rows of one seed, and calls without one, are independent of each other.
    same = np.full((1000, 50), 0.02, np.float32)
    assert len(set(attention.sampling_from_probs(same, seed=1))) > 40
    assert (attention.sampling_from_probs(same) != attention.sampling_from_probs(same)).any()
    generators = [np.random.default_rng(2) for _ in range(2)]
    np.testing.assert_array_equal(*(attention.sampling_from_probs(same, generator=generator)
                                    for generator in generators))


def test_top_k_of_one_is_the_lowest_id_of_the_best():
    probs = np.array([[0.1, 0.3, 0.3, 0.3]], np.float32)
    for seed in range(20):
        assert attention.top_k_sampling_from_probs(probs, 1, seed=seed)[0] == 1


def draft_and_target(n, count, vocab_size=6):
    draft = softmax64(RNG.standard_normal((n, vocab_size))).astype(np.float32)
    target = softmax64(RNG.standard_normal((n + 1, vocab_size))).astype(np.float32)
    drafts = np.broadcast_to(draft, (count, n, vocab_size))
    tokens = attention.sampling_from_probs(drafts.reshape(-1, vocab_size), seed=77)
    return (drafts, tokens.reshape(count, n), np.broadcast_to(target, (count,) + target.shape),
            target)


def test_chain_verification_leaves_the_target_distribution():
    count, n = 30000, 2
    drafts, drafted, targets, target = draft_and_target(n, count)
    tokens, accepted, emitted = attention.chain_speculative_sampling(drafts, drafted, targets,
                                                                     seed=10**9)
    expect_distribution(tokens[:, 0], target[0].astype(np.float64))
    went_on = emitted >= 1
    np.testing.assert_array_equal(tokens[went_on, 0], drafted[went_on, 0])
    expect_distribution(tokens[went_on, 1], target[1].astype(np.float64))
    np.testing.assert_array_equal((tokens != -1).sum(axis=1), emitted + 1)
    assert (accepted >= emitted).all()
    total = np.ones(count, np.int32)
    attention.chain_speculative_sampling(drafts, drafted, targets, None, total, seed=10**9)
    np.testing.assert_array_equal(total, emitted + 1)


def test_tree_verification_leaves_the_target_distribution():
    count, n = 30000, 3  # two siblings, and a child of the first
    drafts, drafted, targets, target = draft_and_target(n, count)
    drafts = np.array(drafts, order="C")
    drafts[:, 1] = drafts[:, 0]  # drawn with replacement
    drafted[:, 1] = attention.sampling_from_probs(drafts[:, 1], seed=5 * 10**8)
    tokens, nodes, emitted = attention.tree_speculative_sampling([-1, -1, 0], drafts, drafted,
                                                                 targets, seed=10**9)
    expect_distribution(tokens[:, 0], target[0].astype(np.float64))
    behind_first = nodes[:, 0] == 0
    expect_distribution(tokens[behind_first, 1], target[1].astype(np.float64))
    np.testing.assert_array_equal((nodes != -1).sum(axis=1), emitted)


def test_refusals():
    probs = attention.softmax(LOGITS)
    refused("top_p is 1.5", attention.top_p_sampling_from_probs, probs, 1.5)
    refused("top_k has 2 values, it must have 1 or 5", attention.top_k_sampling_from_probs, probs,
            [1, 2])
    refused("min_p[2] is nan", attention.min_p_sampling_from_probs, probs,
            [0.1, 0.1, np.nan, 0.1, 0.1])
    refused("temperature is -1", attention.softmax, LOGITS, -1.0)
    refused("filter_apply_order is 'both'", attention.top_k_top_p_sampling_from_probs, probs, 1,
            0.5, None, "both")
    refused("indices[1] is 5", attention.sampling_from_probs, probs, [0, 5])
    refused("seed has shape [2]", attention.sampling_from_probs, probs, seed=[1, 2])
    refused("seed has dtype float64", attention.sampling_from_probs, probs, seed=1.5)
    refused("probs has shape [100]", attention.sampling_from_probs, probs[0])
    refused("logits has dtype float64", attention.sampling_from_logits, probs.astype(np.float64))
    refused("target_probs has shape [5, 1, 100], allowed is [5, 2, vocab_size]",
            attention.chain_speculative_sampling, probs[:, None], np.zeros((5, 1), np.int32),
            probs[:, None])
    two = np.stack([probs, probs], axis=1)
    refused("parents", attention.tree_speculative_sampling, [0], probs[:, None],
            np.zeros((5, 1), np.int32), two)
