"""Sampling from logits and probabilities, and verification of speculative drafts.

A draw is a function of the row, its filters, and its own (seed, position), whatever the batch and
the number of threads. seed and position are numbers, or one number for each row; of a single seed s
row i draws with s + i. Without a seed every call draws anew. top_k keeps exactly k, the lowest ids
among equals.
"""
import itertools
import os

import numpy as np

from . import _core
from ._arrays import as_numpy, dtype_of, empty, floats, indices, renamed

_FRESH_SEED = int.from_bytes(os.urandom(8), "little")
_FRESH_POSITIONS = itertools.count()
_sampling = renamed(offset="position")


def _per_row(name, values, make, absent):
    """One value, or one for each row, as an array of one dimension."""
    if values is None:
        values = absent
    shape = getattr(values, "shape", None)
    if np.ndim(values) == 0 if shape is None else len(shape) == 0:
        values = [values]
    return make(name, values)


def _counters(name, values, batch):
    array = np.asarray(as_numpy(name, values))
    if array.dtype.kind not in "iu" and not (array.dtype == object and array.ndim == 0):
        raise ValueError(f"{name} has dtype {array.dtype}, integers are needed")
    if array.ndim == 0:
        return np.full(batch, int(array) % 2**64, np.uint64)
    if array.ndim != 1 or len(array) != batch:
        raise ValueError(f"{name} has shape {list(array.shape)}, allowed are a number and [{batch}]")
    return array.astype(np.uint64)


def _random(seed, position, generator, batch):
    """Seeds and positions of all rows."""
    if seed is None and generator is not None:
        seed = generator.integers(2**63)
    elif seed is None:
        seed, position = _FRESH_SEED, next(_FRESH_POSITIONS)
    seeds = _counters("seed", seed, batch)
    if np.ndim(seed) == 0:
        seeds += np.arange(batch, dtype=np.uint64)
    return seeds, _counters("position", 0 if position is None else position, batch)


def _filters(temperature=None, top_k=None, top_p=None, min_p=None,
             filter_apply_order="top_k_first"):
    if filter_apply_order not in ("top_k_first", "joint"):
        raise ValueError(f"filter_apply_order is {filter_apply_order!r}, allowed are "
                         "'top_k_first' and 'joint'")
    return (_per_row("temperature", temperature, floats, 1.0),
            _per_row("top_k", top_k, indices, 0), _per_row("top_p", top_p, floats, 1.0),
            _per_row("min_p", min_p, floats, 0.0), filter_apply_order == "joint")


def _check_rows(name, values):
    if len(getattr(values, "shape", ())) != 2:
        raise ValueError(f"{name} has shape {list(getattr(values, 'shape', ()))}, allowed is "
                         "[rows, vocab_size]")


def _sample(name, values, filters, ids, seed, position, generator):
    _check_rows(name, values)
    if ids is not None:
        ids = indices("indices", ids)
    batch = values.shape[0] if ids is None else len(ids)
    samples = np.empty((1, batch), np.int32)
    seeds, positions = _random(seed, position, generator, batch)
    _core.sample(name, values, name == "logits", *filters, seeds, positions, ids, samples)
    return samples[0]


def _renormalise(name, values, filters, out):
    _check_rows(name, values)
    if out is None:
        out = empty(tuple(values.shape), dtype_of(values))
    _core.renormalise(name, values, name == "logits", *filters, out)
    return out


@_sampling
def sampling_from_probs(probs, indices=None, deterministic=True, generator=None, *, seed=None,
                        position=None):
    """One token of each row of probs [rows, vocab_size], or of the rows that indices name."""
    return _sample("probs", probs, _filters(), indices, seed, position, generator)


@_sampling
def sampling_from_logits(logits, indices=None, deterministic=True, generator=None, *,
                         temperature=None, seed=None, position=None):
    """One token of each row of softmax(logits / temperature); temperature 0: the best one."""
    return _sample("logits", logits, _filters(temperature), indices, seed, position, generator)


@_sampling
def top_p_sampling_from_probs(probs, top_p, indices=None, deterministic=True, generator=None, *,
                              seed=None, position=None):
    return _sample("probs", probs, _filters(top_p=top_p), indices, seed, position, generator)


@_sampling
def top_k_sampling_from_probs(probs, top_k, indices=None, deterministic=True, generator=None, *,
                              seed=None, position=None):
    return _sample("probs", probs, _filters(top_k=top_k), indices, seed, position, generator)


@_sampling
def min_p_sampling_from_probs(probs, min_p, indices=None, deterministic=True, generator=None, *,
                              seed=None, position=None):
    return _sample("probs", probs, _filters(min_p=min_p), indices, seed, position, generator)


@_sampling
def top_k_top_p_sampling_from_probs(probs, top_k, top_p, indices=None,
                                    filter_apply_order="top_k_first", deterministic=True,
                                    generator=None, *, min_p=None, seed=None, position=None):
    filters = _filters(None, top_k, top_p, min_p, filter_apply_order)
    return _sample("probs", probs, filters, indices, seed, position, generator)


@_sampling
def top_k_top_p_sampling_from_logits(logits, top_k, top_p, indices=None,
                                     filter_apply_order="top_k_first", deterministic=True,
                                     generator=None, *, temperature=None, min_p=None, seed=None,
                                     position=None):
    filters = _filters(temperature, top_k, top_p, min_p, filter_apply_order)
    return _sample("logits", logits, filters, indices, seed, position, generator)


@_sampling
def softmax(logits, temperature=None, *, out=None):
    """softmax(logits / temperature), one temperature or one for each row."""
    return _renormalise("logits", logits, _filters(temperature), out)


@_sampling
def top_p_renorm_probs(probs, top_p, *, out=None):
    """What top_p_sampling_from_probs draws from: rows of sum 1, 0 for what is cut."""
    return _renormalise("probs", probs, _filters(top_p=top_p), out)


@_sampling
def top_k_renorm_probs(probs, top_k, *, out=None):
    return _renormalise("probs", probs, _filters(top_k=top_k), out)


@_sampling
def top_k_mask_logits(logits, top_k, *, out=None):
    """The top_k best logits of each row, -inf for the others."""
    _check_rows("logits", logits)
    if out is None:
        out = empty(tuple(logits.shape), dtype_of(logits))
    _core.top_k_mask_logits(logits, _per_row("top_k", top_k, indices, 0), out)
    return out


@_sampling
def chain_speculative_sampling(draft_probs, draft_token_ids, target_probs,
                               maybe_output_accepted_token_num=None,
                               maybe_output_emitted_draft_token_num=None, deterministic=True,
                               generator=None, *, seed=None, position=None):
    """Verifies draft_token_ids [batch, n], drawn from draft_probs [batch, n, vocab_size], against
    target_probs [batch, n + 1, vocab_size]. Returns (token ids [batch, n + 1], padded with -1,
    accepted_token_num, emitted_draft_token_num); the counts are added to the arrays that are
    given. The draft must have been drawn with other seeds."""
    ids = _token_ids(draft_token_ids)
    batch, n = ids.shape
    _check_speculative(draft_probs, target_probs, batch, n)
    tokens = np.empty((batch, n + 1), np.int32)
    accepted, emitted = np.empty((1, batch), np.int32), np.empty((1, batch), np.int32)
    seeds, positions = _random(seed, position, generator, batch)
    vocab_size = target_probs.shape[2]
    _core.chain_speculative_sampling(
        draft_probs.reshape((batch * n, vocab_size)), ids,
        target_probs.reshape((batch * (n + 1), vocab_size)), seeds, positions, tokens, emitted,
        accepted)
    return (tokens, _added(maybe_output_accepted_token_num, accepted[0]),
            _added(maybe_output_emitted_draft_token_num, emitted[0]))


@_sampling
def tree_speculative_sampling(parents, draft_probs, draft_token_ids, target_probs, generator=None,
                              *, seed=None, position=None):
    """Verifies a tree of n drafted tokens for each request: parents [batch, n] or [n] (of node i a
    node below i, or -1 for the context), draft_probs [batch, n, vocab_size], draft_token_ids
    [batch, n], target_probs [batch, n + 1, vocab_size] (behind the context, then behind each node).
    Returns (token ids [batch, n + 1], accepted nodes [batch, n], emitted_draft_token_num), padded
    with -1."""
    ids = _token_ids(draft_token_ids)
    batch, n = ids.shape
    _check_speculative(draft_probs, target_probs, batch, n)
    shape = np.atleast_2d(as_numpy("parents", parents))
    nodes_in = _token_ids(shape, "parents")
    tokens, nodes = np.empty((batch, n + 1), np.int32), np.empty((batch, n), np.int32)
    emitted = np.empty((1, batch), np.int32)
    seeds, positions = _random(seed, position, generator, batch)
    vocab_size = target_probs.shape[2]
    _core.tree_speculative_sampling(
        nodes_in, draft_probs.reshape((batch * n, vocab_size)), ids,
        target_probs.reshape((batch * (n + 1), vocab_size)), seeds, positions, tokens, nodes,
        emitted)
    return tokens, nodes, emitted[0]


def _token_ids(values, name="draft_token_ids"):
    array = as_numpy(name, values)
    if array.ndim != 2 or array.dtype.kind not in "iu":
        raise ValueError(f"{name} has dtype {array.dtype} and shape {list(array.shape)}, integers "
                         "of two dimensions are needed")
    return indices(name, array.reshape(-1)).reshape(array.shape)


def _check_speculative(draft_probs, target_probs, batch, n):
    shape = tuple(target_probs.shape)
    if len(shape) != 3 or shape[:2] != (batch, n + 1):
        raise ValueError(f"target_probs has shape {list(shape)}, allowed is [{batch}, {n + 1}, "
                         "vocab_size]")
    if tuple(draft_probs.shape) != (batch, n, shape[2]):
        raise ValueError(f"draft_probs has shape {list(draft_probs.shape)}, allowed is "
                         f"{[batch, n, shape[2]]}")


def _added(total, counts):
    if total is None:
        return counts
    total += counts
    return total
