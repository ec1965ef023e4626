#!/usr/bin/env python3
"""What rounding queries and weights to integers adds to the error of int8 keys and values.

Attention of 64 queries over 4096 normally distributed keys and values of 64 dims (what rotated ones
are close to), in float64, with splits of 256 keys as kvasir/attention computes them. Prints the
error of the output relative to exact attention, for logits of two standard deviations. The figures
of docs/decisions/0020 are this script's. Needs numpy.
"""

import numpy as np

KEYS, DIMS, ROWS, SPLIT = 4096, 64, 64, 256


def rounded(x, code_max):
    """Rows of x as codes up to code_max with a scale each."""
    scale = np.abs(x).max(-1, keepdims=True) / code_max
    return np.rint(x / scale) * scale


def attention(q, k, v, weight_max):
    """Attention whose weights, times the scales of v, are codes up to weight_max; 0 = exact."""
    logits = q @ k.T
    top = logits.max(1, keepdims=True)
    scales = np.abs(v).max(1) / 127
    out, total = 0.0, 0.0
    for begin in range(0, KEYS, SPLIT):
        part = slice(begin, begin + SPLIT)
        split_top = logits[:, part].max(1, keepdims=True)
        weights = np.exp(logits[:, part] - split_top)
        products = weights * scales[part]
        if weight_max:
            step = scales[part].max() / weight_max
            products = np.rint(products / step) * step
        factor = np.exp(split_top - top)
        out = out + factor * (products @ (v[part] / scales[part][:, None]))
        total = total + factor * weights.sum(1, keepdims=True)
    return out / total


def main():
    random = np.random.default_rng(1)
    for deviation in (1.5, 3.0):
        k = random.standard_normal((KEYS, DIMS))
        v = random.standard_normal((KEYS, DIMS))
        q = random.standard_normal((ROWS, DIMS)) * deviation / np.sqrt(DIMS)
        exact = attention(q, k, v, 0)
        k8, v8 = rounded(k, 127), rounded(v, 127)
        cases = {
            "int8 keys and values alone": (q, 0),
            "queries of 8 bits": (rounded(q, 127), 0),
            "queries of 15 bits": (rounded(q, 16383), 0),
            "weights of 8 bits": (q, 127),
            "weights of 9 bits": (q, 255),
            "weights of 16 bits": (q, 32767),
        }
        for name, (queries, weight_max) in cases.items():
            error = np.linalg.norm(attention(queries, k8, v8, weight_max) - exact)
            print(f"logits of +-{deviation}, {name}: {100 * error / np.linalg.norm(exact):.2f} %")


if __name__ == "__main__":
    main()
