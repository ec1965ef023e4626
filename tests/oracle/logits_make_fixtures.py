#!/usr/bin/env python3
"""Writes logits_fixtures/{smollm2,gemma3}.{json,bin}: the logits that transformers computes in
float32 on the dequantised weights of the two real models, for 20 prompts.

  pip install torch transformers gguf tokenizers
  logits_make_fixtures.py --smollm2 SmolLM2-135M-Instruct.Q4_1.gguf \\
                          --gemma3 gemma-3-270m-q4_k_m.gguf
"""

import argparse
import hashlib

import torch

import logits_fixture
import logits_gguf_model
import logits_prompts

POSITIONS_PER_PROMPT = 40
SAMPLED_PER_PROMPT = 4
# Whole rows are large: the last position of these prompts, as many as 1 MB holds.
FULL_ROWS = {"smollm2": ("english_long", "everything"), "gemma3": ("english_long",)}


def run_prompts(model, name, prompts):
    for prompt, ids in prompts:
        positions = logits_fixture.choose_positions(len(ids), POSITIONS_PER_PROMPT)
        with torch.inference_mode():
            logits = model(torch.tensor([ids]), use_cache=False).logits[0].numpy()
        step = max(1, len(positions) // SAMPLED_PER_PROMPT)
        sampled = positions[::-step][:SAMPLED_PER_PROMPT]
        full = [len(ids) - 1] if prompt in FULL_ROWS[name] else []
        print(f"{name} {prompt}: {len(ids)} tokens, {len(positions)} positions", flush=True)
        yield prompt, ids, positions, sorted(sampled), full, logits[positions], logits.argmax(1)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smollm2")
    parser.add_argument("--gemma3")
    args = parser.parse_args()
    for name, path in vars(args).items():
        if path is None:
            continue
        with open(path, "rb") as file:
            print(f"{name}: sha256 {hashlib.file_digest(file, 'sha256').hexdigest()}")
        model, reader = logits_gguf_model.load(path)
        bos = None
        if name == "gemma3":  # gives nonsense without it
            bos = reader.fields["tokenizer.ggml.bos_token_id"].contents()
        encode = logits_gguf_model.encoder(reader)
        vocab_size = model.config.vocab_size
        prompts = logits_prompts.make_prompts(encode, vocab_size, bos)
        logits_fixture.write(name, vocab_size, run_prompts(model, name, prompts))


if __name__ == "__main__":
    main()
