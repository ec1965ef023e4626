#!/usr/bin/env python3
"""Writes logits_tiny/<name>/: a random checkpoint of each model family as a Hugging Face directory,
and in reference.json + reference.bin the logits that transformers computes from it in float32.

  pip install torch transformers safetensors
  logits_make_tiny.py

The weights are drawn so that every switch of a family changes the logits by far more than the
tests' tolerance: the script computes each checkpoint again with the switch turned off and refuses
to write one whose switch does not matter. The reference comes from the directory as written, read back
by transformers, so the config.json is also its.

reference.json  {"vocab_size", "prompts": [{"ids", "positions"}]}
reference.bin   for each prompt, for each position: logits f32[vocab_size], little-endian
"""

import copy
import json
import pathlib
import random
import shutil

import torch
import transformers
from safetensors.torch import save_file

OUT = pathlib.Path(__file__).resolve().parent / "logits_tiny"
PROMPT_LENGTHS = (1, 45, 300)  # 300: over several KV blocks, the windows and a 256-token split
POSITION_COUNT = 12
SWITCH_EFFECT_MIN = 0.02  # of logits of size ~ 1..30; the tests allow 1e-4
ROUNDING_MAX = 2e-5  # float32 against float64: what the reference itself is uncertain by

_LLAMA3_SCALING = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                   "high_freq_factor": 4.0, "original_max_position_embeddings": 64}

# name: (config class, arguments, dtype, shards, spelling of config.json, switches to turn off).
# Directories on the hub say rope_theta and rope_scaling; transformers 5 writes rope_parameters.
# "classic" directories get the old keys, so that both spellings are read.
FAMILIES = {
    "llama3": (transformers.LlamaConfig, dict(
        vocab_size=300, hidden_size=64, intermediate_size=112, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=False,
        rope_parameters={"rope_theta": 500000.0, **_LLAMA3_SCALING}),
        torch.bfloat16, 2, "classic",
        [dict(rope_parameters={"rope_type": "default", "rope_theta": 500000.0})]),
    "llama_untied_odd_shapes": (transformers.LlamaConfig, dict(
        vocab_size=301, hidden_size=36, intermediate_size=52, num_hidden_layers=3,
        num_attention_heads=3, num_key_value_heads=1, tie_word_embeddings=False, rms_norm_eps=1e-2,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0}),
        torch.float32, 1, "classic", [dict(rms_norm_eps=1e-5)]),
    "smollm2_tied": (transformers.LlamaConfig, dict(
        vocab_size=300, hidden_size=72, intermediate_size=128, num_hidden_layers=2,
        num_attention_heads=3, num_key_value_heads=1, tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 100000.0}),
        torch.float16, 1, "classic",
        [dict(rope_parameters={"rope_type": "default", "rope_theta": 10000.0})]),
    "mistral": (transformers.MistralConfig, dict(
        vocab_size=300, hidden_size=64, intermediate_size=96, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, head_dim=24, sliding_window=40,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0}),
        torch.bfloat16, 1, "new", [dict(sliding_window=None), dict(sliding_window=41)]),
    "qwen2": (transformers.Qwen2Config, dict(
        vocab_size=300, hidden_size=64, intermediate_size=96, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 1000000.0}),
        torch.bfloat16, 1, "classic", ["bias"]),
    "qwen3": (transformers.Qwen3Config, dict(
        vocab_size=300, hidden_size=48, intermediate_size=96, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, head_dim=32, tie_word_embeddings=False,
        rope_parameters={"rope_type": "default", "rope_theta": 1000000.0}),
        torch.float16, 1, "new", ["q_norm", "k_norm"]),
    "gemma3": (transformers.Gemma3TextConfig, dict(
        vocab_size=300, hidden_size=48, intermediate_size=64, num_hidden_layers=6,
        num_attention_heads=4, num_key_value_heads=1, head_dim=16, query_pre_attn_scalar=24,
        sliding_window=24, sliding_window_pattern=3,
        rope_parameters={"full_attention": {"rope_type": "linear", "rope_theta": 1000000.0,
                                            "factor": 8.0},
                         "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}}),
        torch.bfloat16, 3, "classic",
        [dict(sliding_window=400), dict(sliding_window=25), dict(query_pre_attn_scalar=16),
         dict(rope_parameters={"full_attention": {"rope_type": "default", "rope_theta": 1000000.0},
                               "sliding_attention": {"rope_type": "default",
                                                     "rope_theta": 10000.0}}),
         dict(rope_parameters={"full_attention": {"rope_type": "linear", "rope_theta": 1000000.0,
                                                  "factor": 8.0},
                               "sliding_attention": {"rope_type": "default",
                                                     "rope_theta": 1000000.0}}),
         "post_feedforward_layernorm", "post_attention_layernorm", "q_norm"]),
}


def make_config(kind, arguments):
    return kind(**arguments, max_position_embeddings=512, attn_implementation="eager",
                bos_token_id=1, eos_token_id=2)


def make_model(config, seed):
    """Random weights with logits of size ~ 1..10, attention that prefers some tokens, and norms and
    biases that are not their defaults."""
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    is_gemma = config.model_type == "gemma3_text"
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() == 1:
                around = 0.0 if is_gemma or name.endswith("bias") else 1.0
                weight.copy_(around + 0.4 * torch.randn_like(weight))
            elif "embed_tokens" in name:
                weight.copy_(0.2 * torch.randn_like(weight))
            else:
                gain = 1.2 if "q_proj" in name or "k_proj" in name else 0.9
                weight.copy_(gain * weight.shape[1] ** -0.5 * torch.randn_like(weight))
    return model


def classic_config(config):
    """The keys of directories on the hub, from those that transformers 5 writes."""
    rope = config.pop("rope_parameters")
    if "full_attention" in rope:
        config["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
        config["sliding_window_pattern"] = FAMILIES["gemma3"][1]["sliding_window_pattern"]
        config.pop("layer_types")
        rope = rope["full_attention"]
    config["rope_theta"] = rope.pop("rope_theta")
    config["rope_scaling"] = None if rope["rope_type"] == "default" else rope
    config["torch_dtype"] = config.pop("dtype")
    return config


def write_shard(tensors, path):
    save_file(tensors, path, metadata={"format": "pt"})
    path.chmod(0o644)  # safetensors makes files that only their owner can read


def save(model, path, dtype, shard_count, style):
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    config = {**model.config.to_dict(), "dtype": str(dtype).removeprefix("torch.")}
    config = {key: value for key, value in config.items() if not key.startswith("_")}
    config["architectures"] = [type(model).__name__]
    config = classic_config(config) if style == "classic" else config
    (path / "config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
    tensors = {n: w.detach().to(dtype).contiguous() for n, w in model.state_dict().items()}
    if model.config.tie_word_embeddings:
        del tensors["lm_head.weight"]
    names = sorted(tensors)
    if shard_count == 1:
        write_shard(tensors, path / "model.safetensors")
        return
    index = {"metadata": {"total_size": sum(w.nbytes for w in tensors.values())}, "weight_map": {}}
    for shard in range(shard_count):
        file = f"model-{shard + 1:05}-of-{shard_count:05}.safetensors"
        mine = names[shard::shard_count]
        write_shard({n: tensors[n] for n in mine}, path / file)
        index["weight_map"].update({n: file for n in mine})
    (path / "model.safetensors.index.json").write_text(
        json.dumps(index, indent=1, sort_keys=True) + "\n")


def logits_of(model, ids):
    with torch.inference_mode():
        return model(torch.tensor([ids]), use_cache=False).logits[0]


def switched_off(model, switch):
    """The same weights with one switch in its other position."""
    if isinstance(switch, dict):
        kind, arguments, *_ = FAMILIES[model.family]
        other = type(model)(make_config(kind, {**arguments, **switch})).eval()
        other.load_state_dict(model.state_dict())
        return other
    other = type(model)(model.config).eval()
    other.load_state_dict({n: torch.zeros_like(w) if switch in n else w
                           for n, w in model.state_dict().items()})
    return other


def check_rounding(model, prompt):
    reference = logits_of(model, prompt)
    assert reference.isfinite().all() and 1 < reference.abs().max() < 60, reference.abs().max()
    exact = logits_of(copy.deepcopy(model).double(), prompt)
    rounding = (exact - reference).abs().max().item()
    assert rounding < ROUNDING_MAX, (model.family, rounding)
    print(f"  float32 against float64: {rounding:.1e}")


def check_switches(model, prompt):
    reference = logits_of(model, prompt)
    for switch in FAMILIES[model.family][-1]:
        effect = (logits_of(switched_off(model, switch), prompt) - reference).abs().max().item()
        print(f"  {switch}: changes logits by up to {effect:.3f}")
        assert effect > SWITCH_EFFECT_MIN, (model.family, switch, effect)


def write_reference(model, path, prompts):
    meta = {"vocab_size": model.config.vocab_size, "prompts": []}
    with open(path / "reference.bin", "wb") as out:
        for ids in prompts:
            count = min(len(ids), POSITION_COUNT)
            last, steps = len(ids) - 1, max(1, count - 1)
            positions = sorted({round(i * last / steps) for i in range(count)})
            out.write(logits_of(model, ids)[positions].numpy().astype("<f4").tobytes())
            meta["prompts"].append({"ids": ids, "positions": positions})
    (path / "reference.json").write_text(json.dumps(meta) + "\n")


def main():
    torch.set_num_threads(1)
    for seed, (name, (kind, arguments, dtype, shards, style, _)) in enumerate(FAMILIES.items()):
        rng = random.Random(seed)
        prompts = [[rng.randrange(arguments["vocab_size"]) for _ in range(length)]
                   for length in PROMPT_LENGTHS]
        path = OUT / name
        save(make_model(make_config(kind, arguments), seed), path, dtype, shards, style)
        model = transformers.AutoModelForCausalLM.from_pretrained(
            path, dtype=torch.float32, attn_implementation="eager").eval()
        model.family = name
        print(name, sum(f.stat().st_size for f in path.iterdir()) // 1024, "KiB, largest logit",
              f"{logits_of(model, prompts[-1]).abs().max():.2f}")
        check_rounding(model, prompts[-1])
        check_switches(model, prompts[-1])
        write_reference(model, path, prompts)


if __name__ == "__main__":
    main()
