#!/usr/bin/env python3
"""Makes the seed corpora of gguf_fuzz, safetensors_fuzz and hf_config_fuzz below tests/fuzz/.

    python3 tests/oracle/weights_fuzz_seeds.py        # needs: pip install gguf safetensors numpy

Small valid files, written by the formats' own libraries; the configurations are those of weights_tiny/.
"""
import json
import pathlib
import shutil

import gguf
import numpy as np
from safetensors.numpy import save

HERE = pathlib.Path(__file__).parent
FUZZ = HERE.parent / "fuzz"
rng = np.random.default_rng(20)


def tensor(writer, name, shape, qtype):
    data = rng.normal(0, 0.1, shape).astype(np.float32)
    if qtype == gguf.GGMLQuantizationType.F32:
        writer.add_tensor(name, data)
    else:
        writer.add_tensor(name, gguf.quants.quantize(data, qtype), raw_dtype=qtype)


def write_gguf(name, arch, qtype, per_layer, extra):
    path = FUZZ / "gguf_fuzz" / name
    writer = gguf.GGUFWriter(path, arch)
    writer.add_block_count(1)
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length(32)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(8)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(["<s>", "<|im_end|>", "a", "b", "c", "d", "ab", "cd"])
    writer.add_token_types([3, 3, 1, 1, 1, 1, 1, 1])
    writer.add_token_merges(["a b", "c d"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_chat_template("{{ messages }}")
    extra(writer)
    norm = gguf.GGMLQuantizationType.F32
    tensor(writer, "token_embd.weight", (8, 32), qtype)
    tensor(writer, "output_norm.weight", (32,), norm)
    for rest, shape in per_layer.items():
        tensor(writer, "blk.0." + rest, shape, norm if len(shape) == 1 else qtype)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


LAYER = {"attn_norm.weight": (32,), "attn_q.weight": (32, 32), "attn_k.weight": (16, 32), "attn_v.weight": (16, 32),
         "attn_output.weight": (32, 32), "ffn_norm.weight": (32,), "ffn_gate.weight": (32, 32),
         "ffn_up.weight": (32, 32), "ffn_down.weight": (32, 32)}
GEMMA = {"attn_q_norm.weight": (16,), "attn_k_norm.weight": (16,), "post_attention_norm.weight": (32,),
         "post_ffw_norm.weight": (32,)}


def gguf_seeds():
    def llama(writer):
        writer.add_array("general.languages", ["en", "de"])
        writer.add_tensor("rope_freqs.weight", np.linspace(1, 8, 8, dtype=np.float32))

    def gemma(writer):
        writer.add_sliding_window(16)
        writer.add_sliding_window_pattern([True])
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(8.0)

    write_gguf("llama_q8_0", "llama", gguf.GGMLQuantizationType.Q8_0, LAYER, llama)
    write_gguf("gemma3_q4_1", "gemma3", gguf.GGMLQuantizationType.Q4_1, {**LAYER, **GEMMA}, gemma)
    write_gguf("qwen3_f16", "qwen3", gguf.GGMLQuantizationType.F16,
               {**LAYER, **{k: v for k, v in GEMMA.items() if "attn" in k}}, lambda writer: None)
    version2 = bytearray((FUZZ / "gguf_fuzz/llama_q8_0").read_bytes())
    version2[4] = 2
    (FUZZ / "gguf_fuzz/llama_q8_0_v2").write_bytes(version2)


def safetensors_seeds():
    out = FUZZ / "safetensors_fuzz"
    (out / "two_types").write_bytes(save({"a.weight": rng.normal(size=(4, 6)).astype(np.float32),
                                          "b": np.arange(5, dtype=np.int64), "empty": np.zeros((0, 3), np.float16)},
                                         metadata={"format": "pt"}))
    (out / "index").write_text(json.dumps({"metadata": {"total_size": 64}, "weight_map": {
        "a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}))


def main():
    for name in ("gguf_fuzz", "safetensors_fuzz", "hf_config_fuzz"):
        shutil.rmtree(FUZZ / name, ignore_errors=True)
        (FUZZ / name).mkdir(parents=True)
    gguf_seeds()
    safetensors_seeds()
    for config in (HERE / "weights_tiny").glob("*/config.json"):
        shutil.copy(config, FUZZ / "hf_config_fuzz" / config.parent.name)
    old_style = {"model_type": "gemma3", "text_config": {
        "model_type": "gemma3_text", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "rope_scaling": {"rope_type": "linear", "factor": 8.0}, "rope_theta": 1e6, "rope_local_base_freq": 1e4,
        "sliding_window": 1024, "sliding_window_pattern": 6}}
    (FUZZ / "hf_config_fuzz/gemma3_nested").write_text(json.dumps(old_style, indent=1) + "\n")


if __name__ == "__main__":
    main()
