#!/usr/bin/env python3
"""Makes tests/oracle/tokenizer_fixtures/: small trained tokenizers and the hashes of the ids that
the original libraries (PyPI tokenizers and sentencepiece) give for every segment of the test text.

  tokenizer_make_fixtures.py                        all fixtures
  tokenizer_make_fixtures.py --smollm FILE.gguf     the hashes for the default model's vocabulary
  tokenizer_make_fixtures.py --gemma FILE.gguf      the hashes for a Gemma 3 GGUF
  tokenizer_make_fixtures.py --show NAME SEGMENT    the expected ids of one segment

Needs: tokenizers, sentencepiece; gguf for the GGUF options.
"""

import argparse
import io
import json
import os
import struct

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers
from tokenizers import pre_tokenizers, processors, trainers

import tokenizer_text

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(HERE, "tokenizer_fixtures")
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
          r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
# In the SentencePiece model without a space prefix, as Gemma has them.
USER_DEFINED = ["\n" * n for n in range(1, 8)] + ["▁" * n for n in range(2, 9)] + ["<tool>"]
CHAT = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def fnv1a(ids):
    h = 0xCBF29CE484222325
    for byte in struct.pack(f"<{len(ids)}i", *ids):
        h = (h ^ byte) * 0x100000001B3 & (1 << 64) - 1
    return h


def write_hashes(name, encode, segments):
    with open(os.path.join(OUT, name + ".hashes.txt"), "w") as f:
        for text in segments:
            ids = encode(text)
            f.write(f"{fnv1a(ids):016x} {len(ids)}\n")


def add_flagged_tokens(tokenizer):
    """Added tokens with every flag; "<word>" is normalized, the others are not."""
    tokenizer.add_tokens([
        AddedToken("<tool>", normalized=False),
        AddedToken("<left>", lstrip=True, normalized=False),
        AddedToken("<right>", rstrip=True, normalized=False),
        AddedToken("<word>", single_word=True, normalized=True),
        AddedToken("Ａ", normalized=True),
    ])


def byte_level(segments, pre, normalizer=None, ignore_merges=False, template=None):
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=1400, special_tokens=CHAT, show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(segments[::3], trainer)
    add_flagged_tokens(tokenizer)
    if template:
        tokenizer.post_processor = processors.Sequence([
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(single=template, special_tokens=[
                (CHAT[0], 0), (CHAT[2], 2)]),
        ])
    return tokenizer


def split(pattern):
    return pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(pattern), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])


def with_byte_tokens(tokenizer, **model_changes):
    """BPE over characters gets <0xNN> tokens, which the trainer cannot make."""
    config = json.loads(tokenizer.to_str())
    vocab = config["model"]["vocab"]
    for b in range(256):
        vocab[f"<0x{b:02X}>"] = len(vocab)
    config["model"].update(byte_fallback=True, **model_changes)
    return Tokenizer.from_str(json.dumps(config))


def character_level(segments, normalizer, pre, decoder, specials):
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizer
    if pre is not None:
        tokenizer.pre_tokenizer = pre
    tokenizer.decoder = decoder
    trainer = trainers.BpeTrainer(vocab_size=1400, limit_alphabet=500, show_progress=False,
                                  special_tokens=specials, max_token_length=12)
    tokenizer.train_from_iterator(segments[::3], trainer)
    return tokenizer


def gemma_like(segments):
    mark_spaces = normalizers.Replace(" ", "▁")
    tokenizer = character_level(
        segments, mark_spaces, pre_tokenizers.Split(" ", "merged_with_previous"),
        decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]),
        ["<pad>", "</s>", "<bos>", "<unk>"])
    tokenizer = with_byte_tokens(tokenizer)
    tokenizer.add_tokens([AddedToken(t, normalized=False) for t in ["\n\n", "\n\n\n", "▁▁"]])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", 2)])
    return tokenizer


def llama2_like(segments):
    tokenizer = character_level(
        segments, normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]),
        None,
        decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                           decoders.Strip(" ", 1, 0)]),
        ["<unk>", "<s>", "</s>"])
    tokenizer = with_byte_tokens(tokenizer)
    add_flagged_tokens(tokenizer)
    return tokenizer


def metaspace_like(segments, scheme):
    """No byte fallback: unknown characters become <unk>."""
    metaspace = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=scheme == "always")
    tokenizer = character_level(segments, normalizers.NFKC(), metaspace,
                                decoders.Metaspace(prepend_scheme=scheme),
                                ["<unk>", "<s>", "</s>"])
    add_flagged_tokens(tokenizer)
    return tokenizer


def unigram_like(segments, byte_fallback):
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=1200, unk_token="<unk>", show_progress=False,
                                      special_tokens=["<unk>", "<s>", "</s>"])
    # Only few alphabets fit into so small a vocabulary; and a learned "<s>" would be there twice.
    tokenizer.train_from_iterator(
        ["".join(c for c in s if ord(c) < 0x500 and c != "<") for s in segments[::3]], trainer)
    if byte_fallback:
        config = json.loads(tokenizer.to_str())
        config["model"]["vocab"] += [[f"<0x{b:02X}>", -20.0] for b in range(256)]
        config["model"]["byte_fallback"] = True
        tokenizer = Tokenizer.from_str(json.dumps(config))
    add_flagged_tokens(tokenizer)
    return tokenizer


def json_tokenizers(segments):
    byte_level_gpt2 = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return {
        "gpt2": byte_level(segments, byte_level_gpt2),
        "prefix_space": byte_level(segments, pre_tokenizers.Sequence([
            pre_tokenizers.Split(Regex(r"\d+"), "merged_with_previous"),
            pre_tokenizers.Digits(individual_digits=False),
            pre_tokenizers.ByteLevel(add_prefix_space=True)])),
        "smollm": byte_level(segments, pre_tokenizers.Sequence([
            pre_tokenizers.Digits(individual_digits=True), byte_level_gpt2])),
        "llama3": byte_level(segments, split(LLAMA3), ignore_merges=True,
                             template="<|endoftext|> $A"),
        "qwen2": byte_level(segments, split(QWEN2), normalizer=normalizers.NFC(),
                            template="$A <|im_end|>"),
        "gemma": gemma_like(segments),
        "llama2": llama2_like(segments),
        "metaspace_first": metaspace_like(segments, "first"),
        "metaspace_always": metaspace_like(segments, "always"),
        "unigram": unigram_like(segments, False),
        "unigram_bytes": unigram_like(segments, True),
    }


def sentencepiece_models(segments):
    """name -> serialized model. "sp_gemma" has user-defined tokens and no space prefix."""
    import sentencepiece as sp

    def train(**options):
        model = io.BytesIO()
        lines = [line for s in segments[::3] for line in s.split("\n") if line and "\0" not in line]
        sp.SentencePieceTrainer.train(
            sentence_iterator=iter(lines), model_writer=model, vocab_size=1600,
            normalization_rule_name="identity", remove_extra_whitespaces=False,
            byte_fallback=True, character_coverage=0.98, allow_whitespace_only_pieces=True,
            max_sentence_length=100000, num_threads=1, minloglevel=2, **options)
        return model.getvalue()

    return {
        "sp_llama": train(model_type="bpe", add_dummy_prefix=True),
        "sp_gemma": train(model_type="bpe", add_dummy_prefix=False,
                          user_defined_symbols=USER_DEFINED),
        "sp_unigram": train(model_type="unigram", add_dummy_prefix=True),
    }


def sentencepiece_encoder(serialized):
    import sentencepiece as sp
    processor = sp.SentencePieceProcessor(model_proto=serialized)
    return processor.encode


def dump_sentencepiece(name, serialized):
    """The arrays that GGUF holds."""
    import sentencepiece as sp
    processor = sp.SentencePieceProcessor(model_proto=serialized)
    pieces = []
    for i in range(processor.vocab_size()):
        piece, kind = processor.id_to_piece(i), 1
        if processor.is_unknown(i):
            kind = 2
        elif processor.is_control(i):
            kind = 3
        elif processor.is_byte(i):
            kind = 6
        elif name == "sp_gemma" and piece in USER_DEFINED:
            # Converters write the spaces of user-defined tokens as they are.
            piece, kind = piece.replace("▁", " "), 4
        pieces.append([piece, processor.get_score(i), kind])
    with open(os.path.join(OUT, name + ".pieces.json"), "w", encoding="utf-8") as f:
        json.dump(pieces, f, ensure_ascii=False, separators=(",", ":"))


def gguf_arrays(path):
    from gguf import GGUFReader
    fields = GGUFReader(path).fields

    def read(key):
        value = fields.get("tokenizer.ggml." + key)
        return None if value is None else value.contents()
    return {key: read(key) for key in ["tokens", "token_type", "scores", "merges"]}


def smollm_encoder(path):
    arrays = gguf_arrays(path)
    vocab = {token: i for i, token in enumerate(arrays["tokens"])}
    merges = [tuple(m.split(" ")) for m in arrays["merges"]]
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.add_special_tokens([AddedToken(t, normalized=False, special=True)
                                  for t, kind in zip(arrays["tokens"], arrays["token_type"])
                                  if kind == 3])
    return lambda text: tokenizer.encode(text, add_special_tokens=False).ids


def varint(value):
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def field(number, value):
    """One protobuf field: an int or bool, a float, or bytes."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def gemma_encoder(path):
    """The library that Gemma's vocabulary was made with, on the pieces of the GGUF."""
    arrays = gguf_arrays(path)
    model = b""
    for piece, score, kind in zip(arrays["tokens"], arrays["scores"], arrays["token_type"]):
        kind = 2 if piece == "<unk>" else kind
        piece = piece.replace(" ", "▁") if kind == 4 else piece
        model += field(1, field(1, piece.encode()) + field(2, float(score)) + field(3, kind))
    # trainer_spec: model_type BPE, vocab_size, byte_fallback.
    model += field(2, field(3, 2) + field(4, len(arrays["tokens"])) + field(35, 1))
    # normalizer_spec: name, add_dummy_prefix, remove_extra_whitespaces, escape_whitespaces.
    model += field(3, field(1, b"identity") + field(3, 0) + field(4, 0) + field(5, 1))
    return sentencepiece_encoder(model)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--smollm")
    parser.add_argument("--gemma")
    parser.add_argument("--show", nargs=2)
    args = parser.parse_args()
    segments = tokenizer_text.all_segments()
    if args.show:
        name, number = args.show[0], int(args.show[1])
        tokenizer = Tokenizer.from_file(os.path.join(OUT, name + ".json"))
        print(repr(segments[number]))
        encoding = tokenizer.encode(segments[number])
        print(encoding.ids)
        print(encoding.tokens)
    elif args.smollm:
        write_hashes("model_smollm", smollm_encoder(args.smollm), segments)
    elif args.gemma:
        write_hashes("model_gemma", gemma_encoder(args.gemma), segments)
    else:
        os.makedirs(OUT, exist_ok=True)
        for name, tokenizer in json_tokenizers(segments).items():
            with open(os.path.join(OUT, name + ".json"), "w", encoding="utf-8") as f:
                f.write(tokenizer.to_str())
            write_hashes(name, lambda text: tokenizer.encode(text).ids, segments)
        for name, serialized in sentencepiece_models(segments).items():
            dump_sentencepiece(name, serialized)
            write_hashes(name, sentencepiece_encoder(serialized), segments)


if __name__ == "__main__":
    main()
