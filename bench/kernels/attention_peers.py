"""kvasir.attention beside another attention on the same shapes, in one process, taking turns. Runs
in the environment of the peer: bench/kernels/run starts it.

Decode reads batches of layers that are larger than the last-level cache, one after the other.
Keys and values are 16-bit on both sides: bf16 with torch, f16 with ggml, and the same type on ours.
"""

import argparse
import json
import statistics
import time

import numpy as np

# name, batch, q_len, kv_len, query heads, KV heads, head dim, causal
SHAPES = [
    ("decode b1 kv8192 g4", 1, 1, 8192, 32, 8, 128, False),
    ("decode b16 kv2048 g4", 16, 1, 2048, 32, 8, 128, False),
    ("decode b16 kv2048 g1", 16, 1, 2048, 8, 8, 128, False),
    ("prefill 512 g4", 1, 512, 512, 32, 8, 128, True),
    ("prefill 2048 g4", 1, 2048, 2048, 32, 8, 128, True),
]
COLD_BYTES = 192 << 20


class Ours:
    """Paged keys and values, HND pages of 32 tokens."""

    PAGE = 32

    def __init__(self, shape, keys, values, threads):
        import kvasir.attention as ka
        ka.set_num_threads(threads)
        _, batch, q_len, kv_len, heads, kv_heads, dim, causal = shape
        pages = kv_len // self.PAGE
        paged = lambda x: np.ascontiguousarray(
            x.reshape(batch, kv_heads, pages, self.PAGE, dim).transpose(0, 2, 1, 3, 4)
        ).reshape(batch * pages, kv_heads, self.PAGE, dim)
        self._layers = [(paged(k), paged(v)) for k, v in zip(keys, values)]
        self._plan = ka.BatchPrefillWithPagedKVCache(kv_layout="HND")
        self._plan.plan(np.arange(batch + 1, dtype=np.int32) * q_len,
                        np.arange(batch + 1, dtype=np.int32) * pages,
                        np.arange(batch * pages, dtype=np.int32),
                        np.full(batch, self.PAGE, dtype=np.int32), heads, kv_heads, dim, self.PAGE,
                        causal=causal)
        self._out = np.empty((batch * q_len, heads, dim), np.float32)

    def run(self, q):  # [batch, heads, q_len, dim]
        batch, heads, q_len, dim = q.shape
        rows = np.ascontiguousarray(q.transpose(0, 2, 1, 3)).reshape(batch * q_len, heads, dim)
        for k, v in self._layers:
            self._plan.run(rows, (k, v), out=self._out)
        return self._out.reshape(batch, q_len, heads, dim).transpose(0, 2, 1, 3)


class Torch:
    number_type = "bf16"

    def __init__(self, shape, keys, values, threads):
        import torch
        self._torch = torch
        torch.set_num_threads(threads)
        self._shape = shape
        bf16 = lambda x: torch.from_numpy(x.view(np.int16)).view(torch.bfloat16)
        self._layers = [(bf16(k), bf16(v)) for k, v in zip(keys, values)]

    def run(self, q):
        torch = self._torch
        queries = torch.from_numpy(q).to(torch.bfloat16)
        for k, v in self._layers:
            out = torch.nn.functional.scaled_dot_product_attention(
                queries, k, v, is_causal=self._shape[7], enable_gqa=True)
        return out.float().numpy()


class Ggml:
    number_type = "f16"

    def __init__(self, shape, keys, values, threads):
        import ggml_attention
        _, batch, q_len, kv_len, heads, kv_heads, dim, causal = shape
        self._layers = [ggml_attention.Attention(k, v, q_len, heads, causal, threads)
                        for k, v in zip(keys, values)]

    def run(self, q):
        for layer in self._layers:
            out = layer.run(q)
        return out


def make_numbers(shape, number_type, layers):
    """Keys and values [batch, kv_heads, kv_len, dim] as bf16 bit patterns or f16."""
    _, batch, _, kv_len, _, kv_heads, dim, _ = shape
    random = np.random.default_rng(1)
    numbers = []
    for _ in range(2 * layers):
        x = random.standard_normal((batch, kv_heads, kv_len, dim), dtype=np.float32)
        if number_type == "f16":
            numbers.append(x.astype(np.float16))
        else:
            import ml_dtypes
            numbers.append(x.astype(ml_dtypes.bfloat16))
    return numbers[:layers], numbers[layers:]


def measure(shape, peer_class, args):
    name, batch, q_len, kv_len, heads, kv_heads, dim, _ = shape
    layer_bytes = 4 * batch * kv_len * kv_heads * dim
    layers = COLD_BYTES // layer_bytes + 1 if q_len == 1 else 1
    keys, values = make_numbers(shape, peer_class.number_type, layers)
    q = np.random.default_rng(2).standard_normal((batch, heads, q_len, dim), dtype=np.float32)
    ours, theirs = Ours(shape, keys, values, args.threads), peer_class(shape, keys, values,
                                                                       args.threads)
    difference = np.abs(ours.run(q) - theirs.run(q)).max()
    if difference > 3e-2:
        raise SystemExit(f"{name}: outputs differ by {difference}")
    ratios, our_times, their_times = [], [], []
    for _ in range(args.rounds):
        start = time.perf_counter()
        ours.run(q)
        middle = time.perf_counter()
        theirs.run(q)
        end = time.perf_counter()
        our_times.append((middle - start) / layers)
        their_times.append((end - middle) / layers)
        ratios.append(their_times[-1] / our_times[-1])
    row = {"row": name, "against": args.against, "threads": args.threads,
           "ours_ms": statistics.median(our_times) * 1e3,
           "theirs_ms": statistics.median(their_times) * 1e3,
           "ratio": statistics.median(ratios), "min": min(ratios), "max": max(ratios),
           "max_difference": float(difference)}
    if args.json:
        print(json.dumps(row), flush=True)
    else:
        print(f"{name:<22} {args.against:<10} ours {row['ours_ms']:8.3f} ms  theirs "
              f"{row['theirs_ms']:8.3f} ms  ratio {row['ratio']:5.2f} "
              f"({row['min']:.2f}-{row['max']:.2f})", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("against", choices=["torch", "llama.cpp"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    for shape in SHAPES:
        measure(shape, Torch if args.against == "torch" else Ggml, args)


if __name__ == "__main__":
    main()
