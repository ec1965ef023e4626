#!/usr/bin/env python3
"""Writes logits_tiny/llama_gguf*/: random Llama checkpoints as GGUF files whose layers go through
the quantised types, with reference logits in the form that logits_make_tiny.py describes.

  pip install torch transformers gguf
  logits_make_tiny_gguf.py

The reference is transformers in float32 on the weights that PyPI's `gguf` reads back from the file.
That package can write the types of 32-wide blocks; K-quants are made of random codes with scales
that give the weights a sensible size.
"""

import random
import shutil

import gguf
import numpy as np

import logits_gguf_model
import logits_make_tiny as tiny

VOCAB = 300
Q = gguf.GGMLQuantizationType


def quantised(rng, rows, cols, kind):
    """A random matrix with entries of size ~ cols^-0.5, quantised by gguf."""
    weight = rng.normal(0, cols ** -0.5, (rows, cols)).astype(np.float32)
    return gguf.quants.quantize(weight, kind)


def k_quantised(rng, rows, cols, kind):
    """Random codes; the block scales are chosen for entries of size ~ cols^-0.5 around zero."""
    _, block_bytes = gguf.GGML_QUANT_SIZES[kind]
    blocks = rng.integers(0, 256, (rows, cols // 256, block_bytes), dtype=np.uint8)

    def put(offset, value):
        blocks[:, :, offset:offset + 2] = np.array([value], np.float16).view(np.uint8)

    # The code times its 6-bit (Q4_K, Q5_K) or 8-bit (Q6_K) sub-scale has this standard deviation
    # and, for the first two, this mean, which d_min takes away.
    spread, middle = {Q.Q4_K: (220, 7.5), Q.Q5_K: (440, 15.5), Q.Q6_K: (1360, None)}[kind]
    d = cols ** -0.5 / spread
    if middle is None:
        put(block_bytes - 2, d)
    else:
        put(0, d)
        put(2, d * middle)
    return blocks.reshape(rows, -1)


def write(path, rng, hidden, ffn, heads, kv_heads, head_dim, embedding, layers):
    """`layers`: for each, {tensor: type} over a default under the key None."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(path.parent.name)
    writer.add_block_count(len(layers))
    writer.add_context_length(512)
    writer.add_embedding_length(hidden)
    writer.add_feed_forward_length(ffn)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_rope_dimension_count(head_dim)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(VOCAB)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(["<end>"] + [f"t{i}" for i in range(1, VOCAB)])
    writer.add_token_types([gguf.TokenType.CONTROL] + [gguf.TokenType.NORMAL] * (VOCAB - 1))
    writer.add_token_merges(["t 1"])
    writer.add_eos_token_id(0)

    def add(name, rows, cols, kind):
        make = k_quantised if kind in (Q.Q4_K, Q.Q5_K, Q.Q6_K) else quantised
        writer.add_tensor(name, make(rng, rows, cols, kind), raw_dtype=kind)

    def add_norm(name):
        writer.add_tensor(name, rng.normal(1, 0.3, hidden).astype(np.float32))

    add("token_embd.weight", VOCAB, hidden, embedding)
    add_norm("output_norm.weight")
    for i, kinds in enumerate(layers):
        q_rows, kv_rows = heads * head_dim, kv_heads * head_dim
        shapes = {"attn_q": (q_rows, hidden), "attn_k": (kv_rows, hidden),
                  "attn_v": (kv_rows, hidden), "attn_output": (hidden, q_rows),
                  "ffn_gate": (ffn, hidden), "ffn_up": (ffn, hidden), "ffn_down": (hidden, ffn)}
        for part, shape in shapes.items():
            add(f"blk.{i}.{part}.weight", *shape, kinds.get(part, kinds[None]))
        add_norm(f"blk.{i}.attn_norm.weight")
        add_norm(f"blk.{i}.ffn_norm.weight")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


CHECKPOINTS = {
    # Shapes of whole 32-wide blocks.
    "llama_gguf": dict(
        hidden=64, ffn=96, heads=4, kv_heads=2, head_dim=16, embedding=Q.Q8_0,
        layers=[{None: Q.Q4_0}, {None: Q.Q4_1}, {None: Q.Q5_0}, {None: Q.Q5_1, "ffn_up": Q.F16},
                {None: Q.Q8_0, "attn_v": Q.BF16, "ffn_gate": Q.F32}]),
    # K-quants need 256 columns; like published files, the narrow matrix has another type.
    "llama_gguf_k": dict(
        hidden=256, ffn=256, heads=2, kv_heads=1, head_dim=32, embedding=Q.Q6_K,
        layers=[{None: Q.Q4_K, "attn_v": Q.Q6_K, "attn_k": Q.Q5_K, "attn_output": Q.Q4_0,
                 "ffn_up": Q.Q5_K, "ffn_down": Q.Q6_K}]),
}


def main():
    for seed, (name, shape) in enumerate(CHECKPOINTS.items()):
        path = tiny.OUT / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        write(path / "model.gguf", np.random.default_rng(seed), **shape)
        model, _ = logits_gguf_model.load(path / "model.gguf")
        model.family = name
        rng = random.Random(seed)
        prompts = [[rng.randrange(VOCAB) for _ in range(n)] for n in tiny.PROMPT_LENGTHS]
        print(name, (path / "model.gguf").stat().st_size // 1024, "KiB, largest logit",
              f"{tiny.logits_of(model, prompts[-1]).abs().max():.2f}")
        tiny.check_rounding(model, prompts[-1])
        tiny.write_reference(model, path, prompts)


if __name__ == "__main__":
    main()
