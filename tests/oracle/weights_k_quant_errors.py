#!/usr/bin/env python3
"""Adds to tests/oracle/weights_dequantize/ what llama.cpp's reference quantisers of Q4_K and Q6_K lose.

    python3 tests/oracle/weights_k_quant_errors.py        # needs: pip install llama-cpp-python gguf numpy

k_quants.source   f32, 40 blocks of 256: normal, heavy-tailed, one-sided and constant numbers
Q4_K.errors       the squared error of each block, f64, of ggml's quantize_row_q4_K_ref, read back by `gguf`
Q6_K.errors       the same for quantize_row_q6_K_ref
Kvasir's search is its own: formats/gguf_quants_test.cc compares errors, not bytes.
"""
import ctypes
import pathlib

import gguf
import llama_cpp
import numpy as np

OUT = pathlib.Path(__file__).parent / "weights_dequantize"
LIB = ctypes.CDLL(str(next(pathlib.Path(llama_cpp.__file__).parent.glob("lib/libggml-base.so*"))))


def main():
    rng = np.random.default_rng(21)
    normal = rng.normal(0, 0.05, (16, 256))
    heavy = rng.standard_t(3, (16, 256)) * 0.02
    one_sided = np.abs(rng.normal(0, 1, (4, 256)))
    special = np.zeros((4, 256))
    special[1] = 0.25
    special[2] = -0.25
    special[3, 17] = 3
    source = np.concatenate([normal, heavy, one_sided, special]).astype(np.float32)
    (OUT / "k_quants.source").write_bytes(source.tobytes())
    for name in ("Q4_K", "Q6_K"):
        qtype = gguf.GGMLQuantizationType[name]
        size = gguf.GGML_QUANT_SIZES[qtype][1]
        blocks = np.zeros((len(source), size), dtype=np.uint8)
        quantize = getattr(LIB, f"quantize_row_{name[0].lower()}{name[1:]}_ref")
        quantize(source.ctypes.data_as(ctypes.c_void_p), blocks.ctypes.data_as(ctypes.c_void_p),
                 ctypes.c_int64(source.size))
        read = gguf.quants.dequantize(blocks, qtype).astype(np.float64)
        (OUT / f"{name}.errors").write_bytes(((read - source) ** 2).sum(axis=1).tobytes())


if __name__ == "__main__":
    main()
