#!/usr/bin/env python3
"""Where the int4 levels of kvasir/formats/kv_codec.h come from.

Lloyd's iteration over groups of 32 normally distributed numbers, each with the best of some scales
of either sign: assign every number to its nearest level, rescale each group by least squares, move
each level to the weighted mean of its numbers. Prints the levels and, for each way to find scales,
the signal-to-noise ratio in dB. Needs numpy.
"""

import numpy as np

START = np.linspace(-127.0, 127.0, 16) - 4  # off centre: the iteration keeps the asymmetry
FINE = (0.85, 0.9, 0.95, 1.0, 1.05, 1.1, 1.15)
USED = (0.85, 0.95, 1.05)  # kKvInt4Reaches


def assign(groups, scales, levels):
    """The nearest level of every number."""
    bounds = (levels[1:] + levels[:-1]) / 2
    return levels[np.searchsorted(bounds, groups / scales[:, None])]


def encode(groups, levels, ratios):
    """The scale of each group with the smallest error after rescaling, and the levels chosen."""
    largest = np.abs(groups).max(axis=1)
    best, scale = np.full(len(groups), -1.0), largest / 127
    for ratio in ratios:
        for sign in (-1, 1):
            chosen = assign(groups, sign * largest / (127 * ratio), levels)
            dot, norm = (groups * chosen).sum(axis=1), (chosen * chosen).sum(axis=1)
            better = dot * dot / norm > best
            best = np.where(better, dot * dot / norm, best)
            scale = np.where(better, dot / norm, scale)
    return scale, assign(groups, scale, levels)


def decibels(groups, scale, chosen):
    """Signal to noise."""
    noise = groups - scale[:, None] * chosen
    return 10 * np.log10((groups**2).sum() / (noise**2).sum())


def main():
    groups = np.random.default_rng(1).standard_normal((60000, 32)).astype(np.float32)
    levels = START * 127 / np.abs(START).max()
    for _ in range(40):
        scale, chosen = encode(groups, levels, FINE)
        index = np.searchsorted(levels, chosen)
        products = groups * scale[:, None]
        weights = np.broadcast_to((scale**2)[:, None], groups.shape)
        levels = np.array(
            [products[index == i].sum() / weights[index == i].sum() for i in range(16)]
        )
        levels *= 127 / np.abs(levels).max()
    print("levels", np.round(levels).astype(int).tolist())
    for name, ratios in (("fine", FINE), ("used", USED)):
        print(name, round(decibels(groups, *encode(groups, np.round(levels), ratios)), 2), "dB")


if __name__ == "__main__":
    main()
