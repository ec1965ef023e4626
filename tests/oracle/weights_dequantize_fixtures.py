#!/usr/bin/env python3
"""Makes tests/oracle/weights_dequantize/: blocks of every quantised type with what PyPI's `gguf` makes of them.

    python3 tests/oracle/weights_dequantize_fixtures.py        # needs: pip install gguf numpy

For each type T:  T.blocks  random bytes, with scales that span zero, subnormals and the largest f16
                  T.f32     the numbers that gguf.quants.dequantize reads from them, little-endian f32
and for the types that kvasir quantises:  T.source (f32) and T.quantized (gguf.quants.quantize of it).
halves.f32 / halves.f16 / halves.bf16 hold numbers around every rounding boundary with numpy's f16 and gguf's bf16.
"""
import pathlib

import gguf
import numpy as np

OUT = pathlib.Path(__file__).parent / "weights_dequantize"
rng = np.random.default_rng(20)

# Byte offsets of the f16 numbers inside a block, from ggml's block structs.
F16_OFFSETS = {"Q8_0": [0], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2],
               "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}
EXTREMES = np.array([0.0, -0.0, 65504, -65504, 6e-8, -6e-8, 6.1e-5, 1.0], dtype=np.float16)


def write(name, array):
    (OUT / name).write_bytes(np.ascontiguousarray(array).tobytes())


def blocks_of(name):
    qtype = gguf.GGMLQuantizationType[name]
    elements, size = gguf.GGML_QUANT_SIZES[qtype]
    count = 20 if elements == 32 else 10
    blocks = rng.integers(0, 256, (count, size), dtype=np.uint8)
    for k, offset in enumerate(F16_OFFSETS[name]):
        scales = rng.normal(0, 0.1, count).astype(np.float16)
        scales[:len(EXTREMES)] = np.roll(EXTREMES, k)
        blocks[:, offset:offset + 2] = scales.view(np.uint8).reshape(count, 2)
    return qtype, blocks


def main():
    OUT.mkdir(exist_ok=True)
    for name in F16_OFFSETS:
        qtype, blocks = blocks_of(name)
        write(f"{name}.blocks", blocks)
        write(f"{name}.f32", gguf.quants.dequantize(blocks, qtype).astype("<f4"))

    source = (rng.normal(0, 1, (12, 32)) * np.logspace(-4, 3, 12)[:, None]).astype(np.float32)
    source[3] = 0
    source[4, :] = 0.25  # one value: Q4_1's scale is zero
    source[5] = -np.abs(source[5])
    for name in ("Q8_0", "Q4_0", "Q4_1", "Q5_0"):
        write(f"{name}.source", source)
        write(f"{name}.quantized", gguf.quants.quantize(source, gguf.GGMLQuantizationType[name]))

    # Around the boundaries: every f16 exponent, the ties between neighbours, subnormals, overflow.
    halves = np.concatenate([np.arange(0, 0x7C00, 97), [0x3FF, 0x400, 0x7BFF, 1, 2]]).astype(np.uint16)
    values = halves.view(np.float16).astype(np.float32)
    above = (halves + 1).astype(np.uint16).view(np.float16).astype(np.float32)
    ties = np.where(np.isfinite(above), (values + above) / 2, 65520).astype(np.float32)
    numbers = np.concatenate([values, ties, np.nextafter(ties, np.float32(0)), np.nextafter(ties, np.float32(np.inf)),
                              rng.normal(0, 1, 300).astype(np.float32), [1e-30, 1e30, 65519.996, 3e38, np.inf]])
    numbers = np.concatenate([numbers, -numbers]).astype(np.float32)
    write("halves.f32", numbers)
    with np.errstate(over="ignore"):
        write("halves.f16", numbers.astype(np.float16))
    write("halves.bf16", gguf.quants.quantize(numbers, gguf.GGMLQuantizationType.BF16))


if __name__ == "__main__":
    main()
