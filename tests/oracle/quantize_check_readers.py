#!/usr/bin/env python3
"""Has PyPI's `gguf` and llama.cpp read what `kvasir quantize` writes. By hand: needs a build and llama.cpp.

    python3 tests/oracle/quantize_check_readers.py build/ci/bin/kvasir   # needs: pip install gguf llama-cpp-python numpy

The default model is quantised to every type. `gguf` must find the source's metadata and names and, dequantised, numbers
near the source's; Q8_0 and Q4_0 tensors must have the bytes of gguf's own quantisers. llama.cpp must load the file and
continue a sentence as with the source.
"""
import os
import pathlib
import subprocess
import sys
import tempfile

import gguf
import llama_cpp
import numpy as np

MODEL = pathlib.Path(os.environ.get("KVASIR_MODEL") or pathlib.Path.home() /
                     ".cache/kvasir/models/SmolLM2-135M-Instruct.Q4_1.gguf")
PROMPT = "The capital of France is"


def numbers(tensor):
    return gguf.quants.dequantize(tensor.data, tensor.tensor_type)


def check_gguf(source, written):
    skipped = {"general.file_type", "general.quantization_version", "GGUF.version", "GGUF.kv_count"}
    for key, field in source.fields.items():
        if key not in skipped:
            assert field.contents() == written.fields[key].contents(), key
    theirs = {tensor.name: tensor for tensor in source.tensors}
    assert set(theirs) == {tensor.name for tensor in written.tensors}
    exact = 0
    for tensor in written.tensors:
        original = numbers(theirs[tensor.name])
        error = np.sqrt(np.mean((numbers(tensor) - original) ** 2) / np.mean(original ** 2))
        assert error < 0.12, (tensor.name, tensor.tensor_type, error)
        if tensor.tensor_type.name in ("Q8_0", "Q4_0", "Q5_0"):
            assert np.array_equal(tensor.data, gguf.quants.quantize(original, tensor.tensor_type)), tensor.name
            exact += 1
    return exact


def continuation(path):
    model = llama_cpp.Llama(str(path), n_ctx=128, verbose=False, n_threads=2)
    return model(PROMPT, max_tokens=4, temperature=0)["choices"][0]["text"]


def main():
    kvasir = sys.argv[1]
    source = gguf.GGUFReader(MODEL)
    expected = continuation(MODEL)
    with tempfile.TemporaryDirectory() as directory:
        for name in ("q8_0", "q4_0", "q4_K"):
            path = pathlib.Path(directory) / f"{name}.gguf"
            subprocess.run([kvasir, "quantize", MODEL, path, "--type", name, "--from-quantized"], check=True,
                           stdout=subprocess.DEVNULL)
            exact = check_gguf(source, gguf.GGUFReader(path))
            print(f"{name}: {exact} tensors with gguf's own bytes; llama.cpp: {PROMPT}{continuation(path)}"
                  f" (source:{expected})")


if __name__ == "__main__":
    main()
