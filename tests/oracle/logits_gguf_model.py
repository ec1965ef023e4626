"""Loads a GGUF file of architecture llama or gemma3 as a transformers model in float32.

The tensors are dequantised by PyPI's `gguf` and named here; transformers' own GGUF import is not
used, so that one mistake cannot hide another.
"""

import gguf
import torch
import transformers

_LAYER_NAMES = {
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj", "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj", "attn_norm": "input_layernorm",
}
_FFN_NORM = {"llama": {"ffn_norm": "post_attention_layernorm"},
             "gemma3": {"ffn_norm": "pre_feedforward_layernorm",
                        "post_attention_norm": "post_attention_layernorm",
                        "post_ffw_norm": "post_feedforward_layernorm"}}
_TOP_NAMES = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}


def _fields(reader):
    arch = reader.fields["general.architecture"].contents()
    return arch, lambda key: reader.fields[f"{arch}.{key}"].contents()


def _head_dim(reader, default):
    key = reader.fields.get("llama.attention.key_length")
    return default if key is None else key.contents()


def _config(reader, vocab_size):
    arch, field = _fields(reader)
    heads = field("attention.head_count")
    common = dict(
        vocab_size=vocab_size, hidden_size=field("embedding_length"),
        intermediate_size=field("feed_forward_length"), num_hidden_layers=field("block_count"),
        num_attention_heads=heads, num_key_value_heads=field("attention.head_count_kv"),
        rms_norm_eps=field("attention.layer_norm_rms_epsilon"),
        max_position_embeddings=field("context_length"),
        tie_word_embeddings=all(t.name != "output.weight" for t in reader.tensors),
        attn_implementation="eager")
    if arch == "llama":
        return transformers.LlamaConfig(
            **common, head_dim=_head_dim(reader, common["hidden_size"] // heads),
            rope_parameters={"rope_type": "default", "rope_theta": field("rope.freq_base")})
    assert arch == "gemma3", arch
    # Not in the file: every Gemma 3 of this size has five sliding layers to a full one, theta
    # 10,000 in the sliding ones, and scales q.k by head_dim^-0.5.
    return transformers.Gemma3TextConfig(
        **common, head_dim=field("attention.key_length"),
        query_pre_attn_scalar=field("attention.key_length"),
        sliding_window=field("attention.sliding_window"), sliding_window_pattern=6,
        rope_parameters={
            "full_attention": {"rope_type": "default", "rope_theta": field("rope.freq_base")},
            "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}})


def _hf_name(arch, name):
    stem = name.removesuffix(".weight")
    if stem in _TOP_NAMES:
        return _TOP_NAMES[stem] + ".weight"
    _, layer, part = stem.split(".")
    return f"model.layers.{layer}.{ {**_LAYER_NAMES, **_FFN_NORM[arch]}[part]}.weight"


def _unpermute(weight, head_count):
    """GGUF llama files interleave the halves of each head's rows: (2i, 2i+1) -> (i, i + dim/2)."""
    rows, cols = weight.shape
    pairs = weight.reshape(head_count, rows // head_count // 2, 2, cols)
    return pairs.transpose(1, 2).reshape(rows, cols)


def load(path):
    """(transformers model in float32, GGUFReader)."""
    reader = gguf.GGUFReader(path)
    arch, field = _fields(reader)
    heads = {"attn_q": field("attention.head_count"), "attn_k": field("attention.head_count_kv")}
    state = {}
    for tensor in reader.tensors:
        weight = torch.from_numpy(gguf.quants.dequantize(tensor.data, tensor.tensor_type).copy())
        part = tensor.name.split(".")[-2]
        if arch == "llama" and part in heads:
            weight = _unpermute(weight, heads[part])
        if arch == "gemma3" and part.endswith("norm"):
            weight = weight - 1  # the file holds 1 + w
        state[_hf_name(arch, tensor.name)] = weight
    config = _config(reader, state["model.embed_tokens.weight"].shape[0])
    kind = {"llama": transformers.LlamaForCausalLM, "gemma3": transformers.Gemma3ForCausalLM}[arch]
    model = kind(config).float().eval()
    missing, surplus = model.load_state_dict(state, strict=False)
    tied = {"lm_head.weight"} if config.tie_word_embeddings else set()
    assert set(missing) <= tied and not surplus, (missing, surplus)
    return model, reader


def encoder(reader):
    """A deterministic text -> ids function for the file's vocabulary."""
    tokens = reader.fields["tokenizer.ggml.tokens"].contents()
    if reader.fields["tokenizer.ggml.model"].contents() == "gpt2":
        return _byte_level_encoder(tokens, reader.fields["tokenizer.ggml.merges"].contents())
    return _score_encoder(tokens, reader.fields["tokenizer.ggml.scores"].contents())


def _byte_level_encoder(tokens, merges):
    from tokenizers import Tokenizer, models, pre_tokenizers
    tokenizer = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)},
                                     [tuple(m.split(" ")) for m in merges]))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True),
         pre_tokenizers.ByteLevel(add_prefix_space=False)])
    return lambda text: tokenizer.encode(text).ids


def _score_encoder(tokens, scores):
    """SentencePiece BPE: merge the neighbours whose union scores best until none is a token."""
    ids = {t: i for i, t in enumerate(tokens)}

    def encode_chunk(chunk):
        pieces = list(chunk)
        while True:
            best = max(((scores[ids[a + b]], -i) for i, (a, b) in enumerate(zip(pieces, pieces[1:]))
                        if a + b in ids), default=None)
            if best is None:
                return pieces
            i = -best[1]
            pieces[i:i + 2] = [pieces[i] + pieces[i + 1]]

    def encode(text):
        text = text.replace(" ", "\u2581")
        chunks = [text[start:start + 200] for start in range(0, len(text), 200)]
        return [i for chunk in chunks for p in encode_chunk(chunk)
                for i in ([ids[p]] if p in ids else [ids[f"<0x{b:02X}>"] for b in p.encode()])]

    return encode
