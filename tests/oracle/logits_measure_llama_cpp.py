#!/usr/bin/env python3
"""Writes logits_fixtures/llama_cpp.json: how far llama.cpp's logits are from the float32 reference
on the prompts of logits_fixtures/{smollm2,gemma3}, as top-1 agreement and mean KL. These are the
figures that our int8 path must not be worse than. KV cache f16, with and without flash attention;
the better of the two counts.

  pip install llama-cpp-python==0.3.36 numpy      (compiled for this machine, not a generic wheel)
  logits_measure_llama_cpp.py --smollm2 FILE.gguf --gemma3 FILE.gguf
"""

import argparse
import json
import platform

import llama_cpp
import numpy as np

import logits_fixture

CONTEXT = 1024


def open_model(path):
    llama_cpp.llama_backend_init()
    model = llama_cpp.llama_model_load_from_file(
        path.encode(), llama_cpp.llama_model_default_params())
    assert model, path
    return model


def open_context(model, flash_attention):
    params = llama_cpp.llama_context_default_params()
    params.n_ctx = params.n_batch = CONTEXT
    params.n_ubatch = 512
    params.n_threads = params.n_threads_batch = 2
    params.flash_attn_type = (llama_cpp.LLAMA_FLASH_ATTN_TYPE_ENABLED if flash_attention
                              else llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED)
    return llama_cpp.llama_init_from_model(model, params)


def prompt_logits(context, ids, vocab_size):
    llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), True)
    batch = llama_cpp.llama_batch_init(len(ids), 0, 1)
    batch.n_tokens = len(ids)
    for i, token in enumerate(ids):
        batch.token[i], batch.pos[i] = token, i
        batch.n_seq_id[i], batch.seq_id[i][0] = 1, 0
        batch.logits[i] = 1
    assert llama_cpp.llama_decode(context, batch) == 0
    llama_cpp.llama_batch_free(batch)
    return np.ctypeslib.as_array(llama_cpp.llama_get_logits(context), (len(ids), vocab_size))


def measure(model, meta, flash_attention):
    context = open_context(model, flash_attention)
    per_prompt, kls, hits = {}, [], []
    for prompt in meta["prompts"]:
        logits = prompt_logits(context, prompt["ids"], meta["vocab_size"])
        kl = logits_fixture.kl_divergence(prompt, logits[prompt["positions"]])
        hit = logits.argmax(1) == prompt["argmax"]
        per_prompt[prompt["name"]] = {"kl_mean": float(kl.mean()), "top1": float(hit.mean())}
        kls.append(kl)
        hits.append(hit)
    llama_cpp.llama_free(context)
    return {"kl_mean": float(np.concatenate(kls).mean()),
            "kl_max": float(np.concatenate(kls).max()),
            "top1": float(np.concatenate(hits).mean()),
            "kl_position_count": sum(map(len, kls)), "top1_position_count": sum(map(len, hits)),
            "prompts": per_prompt}


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smollm2", required=True)
    parser.add_argument("--gemma3", required=True)
    args = parser.parse_args()
    result = {"llama_cpp_python": llama_cpp.__version__, "numpy": np.__version__,
              "machine": platform.machine(), "kv": "f16",
              "system_info": llama_cpp.llama_print_system_info().decode().strip(), "models": {}}
    for name, path in vars(args).items():
        meta = logits_fixture.read(name)
        model = open_model(path)
        result["models"][name] = {
            "flash_attention": measure(model, meta, True), "plain": measure(model, meta, False)}
        llama_cpp.llama_model_free(model)
        for variant, figures in result["models"][name].items():
            print(f"{name} {variant}: top-1 {figures['top1']:.4f} of "
                  f"{figures['top1_position_count']} positions, mean KL {figures['kl_mean']:.6f}, "
                  f"max {figures['kl_max']:.4f} of {figures['kl_position_count']}")
    text = json.dumps(result, indent=1)
    (logits_fixture.FIXTURES / "llama_cpp.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
