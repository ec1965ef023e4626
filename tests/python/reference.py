"""Attention by its definition, in float64, sequence by sequence: what the module is held against."""
import numpy as np


def rotate(x, positions, theta, scale):
    """RoPE of Llama over all dims: x [tokens, heads, dim], dims d and d + dim / 2 turn together."""
    half = x.shape[-1] // 2
    angles = positions[:, None] * theta**(-np.arange(half) / half) / scale
    cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]
    a, b = x[..., :half], x[..., half:]
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


def attention(q, k, v, *, causal=False, mask=None, window_left=-1, soft_cap=0.0, sm_scale=None,
              slopes=None, sinks=None, rope=None):
    """q [q_len, heads, dim], k and v [kv_len, kv_heads, dim]: (O, natural-log LSE)."""
    q, k, v = (np.asarray(x, np.float64) for x in (q, k, v))
    q_len, heads, dim = q.shape
    kv_len, kv_heads, _ = k.shape
    q_pos = kv_len - q_len + np.arange(q_len)
    k_pos = np.arange(kv_len)
    if rope is not None:
        q, k = rotate(q, q_pos, *rope), rotate(k, k_pos, *rope)
    group = heads // kv_heads
    k, v = np.repeat(k, group, axis=1), np.repeat(v, group, axis=1)
    logits = np.einsum("qhd,khd->hqk", q, k) * (dim**-0.5 if sm_scale is None else sm_scale)
    distance = k_pos[None, :] - q_pos[:, None]
    if slopes is not None:
        logits += np.asarray(slopes, np.float64)[:, None, None] * distance
    if soft_cap > 0:
        logits = soft_cap * np.tanh(logits / soft_cap)
    seen = np.ones((q_len, kv_len), bool)
    if mask is not None:
        seen &= mask
    elif causal:
        seen &= distance <= 0
    if window_left >= 0:
        seen &= distance >= -window_left
    logits = np.where(seen, logits, -np.inf)
    sink = np.full((heads, q_len, 1), -np.inf)
    if sinks is not None:
        sink[:] = np.asarray(sinks, np.float64)[:, None, None]
    logits = np.concatenate([logits, sink], axis=-1)
    top = np.max(logits, axis=-1, keepdims=True)
    weights = np.exp(logits - np.where(np.isfinite(top), top, 0))
    total = weights.sum(axis=-1, keepdims=True)
    shares = np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)
    with np.errstate(divide="ignore"):
        lse = (np.log(total) + np.where(np.isfinite(top), top, 0))[..., 0]
    out = np.einsum("hqk,khd->qhd", shares[..., :-1], v)
    return out, lse.T


class Batch:
    """Sequences of random keys, values and queries, in pages and ragged."""

    def __init__(self, lens, *, heads=(4, 2), dim=32, v_dim=None, page_size=16, dtype=np.float32,
                 layout="NHD", seed=0):
        rng = np.random.default_rng(seed)
        self.heads, self.dim, self.page_size, self.layout = heads, dim, page_size, layout
        self.lens = lens  # (q_len, kv_len) of each sequence
        v_dim = v_dim or dim
        qo, kv = heads
        self.q = [rng.standard_normal((n, qo, dim)).astype(np.float32) for n, _ in lens]
        self.k = [rng.standard_normal((n, kv, dim)).astype(dtype) for _, n in lens]
        self.v = [rng.standard_normal((n, kv, v_dim)).astype(dtype) for _, n in lens]
        pages = [-(-n // page_size) for _, n in lens]
        self.indptr = np.concatenate([[0], np.cumsum(pages)]).astype(np.int32)
        self.page_count = int(self.indptr[-1]) + 2
        self.indices = rng.permutation(self.page_count)[:self.indptr[-1]].astype(np.int32)
        self.last = np.array([n - (p - 1) * page_size if p else 1 for (_, n), p in
                              zip(lens, pages)], np.int32)
        self.qo_indptr = np.concatenate([[0], np.cumsum([n for n, _ in lens])]).astype(np.int32)
        self.kv_indptr = np.concatenate([[0], np.cumsum([n for _, n in lens])]).astype(np.int32)
        self.kv_lens = np.array([n for _, n in lens], np.int32)
        self.k_cache = np.full((self.page_count, page_size, kv, dim), np.nan).astype(dtype)
        self.v_cache = np.full((self.page_count, page_size, kv, v_dim), np.nan).astype(dtype)
        for b, (_, n) in enumerate(lens):
            ids = self.indices[self.indptr[b]:self.indptr[b + 1]]
            for token in range(n):
                place = ids[token // page_size], token % page_size
                self.k_cache[place], self.v_cache[place] = self.k[b][token], self.v[b][token]
        if layout == "HND":
            self.k_cache, self.v_cache = (np.ascontiguousarray(x.transpose(0, 2, 1, 3))
                                          for x in (self.k_cache, self.v_cache))

    @property
    def cache(self):
        return self.k_cache, self.v_cache

    @property
    def all_q(self):
        return np.concatenate(self.q)

    def reference(self, masks=None, **options):
        results = [attention(self.q[b], self.k[b], self.v[b],
                             mask=None if masks is None else masks[b], **options)
                   for b in range(len(self.lens))]
        return tuple(np.concatenate(part) for part in zip(*results))
