#!/usr/bin/env python3
"""Makes tests/oracle/weights_tiny/: a tiny random Hugging Face checkpoint of every family, by `transformers` itself.

    python3 tests/oracle/make_tiny_checkpoints.py        # needs: pip install torch transformers safetensors

Each directory also gets expected.json: what `transformers` makes of the configuration (rotary frequencies, scales,
which layers slide) and the sum of each tensor in float64. kvasir/weights/checkpoint_test.cc compares with it.
Every directory has less than 100 KB.
"""
import json
import pathlib
import shutil

import torch
from safetensors.torch import load_file
from transformers import (Gemma3ForCausalLM, Gemma3TextConfig, LlamaConfig, LlamaForCausalLM, MistralConfig,
                          MistralForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM)

OUT = pathlib.Path(__file__).parent / "weights_tiny"
SIZES = dict(vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
             num_key_value_heads=2, max_position_embeddings=256, bos_token_id=1, eos_token_id=2, pad_token_id=None)
LLAMA3 = dict(rope_type="llama3", rope_theta=500000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=64)

# name -> (model class, configuration, dtype, how many bytes a shard may have)
MODELS = {
    "llama": (LlamaForCausalLM, LlamaConfig(**SIZES, rope_parameters=LLAMA3, tie_word_embeddings=False,
                                            attention_bias=True), torch.float32, "20KB"),
    "llama_linear": (LlamaForCausalLM, LlamaConfig(**SIZES, tie_word_embeddings=True, rope_parameters=dict(
        rope_type="linear", rope_theta=10000.0, factor=4.0)), torch.float16, "5MB"),
    "mistral": (MistralForCausalLM, MistralConfig(**SIZES, head_dim=16, sliding_window=24), torch.bfloat16, "5MB"),
    "qwen2": (Qwen2ForCausalLM, Qwen2Config(**SIZES, tie_word_embeddings=True, use_sliding_window=True,
                                            sliding_window=16, max_window_layers=1), torch.float32, "5MB"),
    "qwen3": (Qwen3ForCausalLM, Qwen3Config(**SIZES, head_dim=16, rope_parameters=dict(
        rope_type="default", rope_theta=1e6)), torch.bfloat16, "20KB"),
    "gemma3": (Gemma3ForCausalLM, Gemma3TextConfig(
        **{**SIZES, "num_hidden_layers": 3}, head_dim=16, query_pre_attn_scalar=24, sliding_window=16,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        rope_parameters={"full_attention": dict(rope_type="linear", rope_theta=1e6, factor=8.0),
                         "sliding_attention": dict(rope_type="default", rope_theta=10000.0)}), torch.float32, "5MB"),
}


def expected(model, directory):
    config, base = model.config, model.model
    rotary = base.rotary_emb
    layer_types = getattr(config, "layer_types", None)
    window = getattr(config, "sliding_window", None)
    sums = {}
    for shard in sorted(directory.glob("*.safetensors")):
        for name, tensor in load_file(shard).items():
            sums[name] = tensor.double().sum().item()
    full = getattr(rotary, "full_attention_inv_freq", None)
    sliding = getattr(rotary, "sliding_attention_inv_freq", None)
    full = rotary.inv_freq if full is None else full
    return {
        "inverse_frequency": full.tolist(),
        "sliding_inverse_frequency": (full if sliding is None else sliding).tolist(),
        "attention_scale": base.layers[0].self_attn.scaling,
        "embedding_scale": float(getattr(base.embed_tokens, "scalar_embed_scale", 1.0)),
        "sliding_window": window or 0,
        "layer_is_sliding": [window is not None and (layer_types is None or t == "sliding_attention")
                             for t in (layer_types or [None] * config.num_hidden_layers)],
        "head_dim": base.layers[0].self_attn.head_dim,
        "tied": bool(config.tie_word_embeddings),
        "tensor_sums": sums,
    }


def main():
    for name, (model_class, config, dtype, shard_bytes) in MODELS.items():
        torch.manual_seed(20)
        directory = OUT / name
        shutil.rmtree(directory, ignore_errors=True)
        model = model_class(config)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.05)  # no norm stays at one, no bias at zero
        model.to(dtype).save_pretrained(directory, max_shard_size=shard_bytes)
        (directory / "expected.json").write_text(json.dumps(expected(model_class(config), directory), indent=1) + "\n")


if __name__ == "__main__":
    main()
