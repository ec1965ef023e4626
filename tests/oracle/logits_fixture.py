"""The fixture format of the logits oracle, and the figures computed from it. Needs numpy only.

<model>.json  {"model", "vocab_size", "top_count", "sample_count", "prompts": [
                 {"name", "ids", "positions", "sampled_positions", "full_positions"}]}
<model>.bin   little-endian, for each prompt in order:
                for each of positions: logsumexp f32, top ids i32[top_count],
                                       top logits f32[top_count] (falling)
                for each of sampled_positions: logits f32[sample_count] of the ids
                                       i * vocab_size // sample_count
                for each of full_positions: logits f32[vocab_size]
                argmax i32[ids], at every position of the prompt

"positions" are indices into "ids" and the logits predict the token after that one. A logsumexp with
the top logits gives the probability of each top token and of the rest together, which is what KL
needs; the sampled and full rows are there for max |difference|, argmax for top-1 agreement.
"""

import json
import pathlib

import numpy as np

TOP_COUNT = 64
SAMPLE_COUNT = 256
FIXTURES = pathlib.Path(__file__).resolve().parent / "logits_fixtures"


def log_sum_exp(logits):
    x = logits.astype(np.float64)
    peak = x.max(axis=-1, keepdims=True)
    return (peak + np.log(np.exp(x - peak).sum(axis=-1, keepdims=True)))[..., 0]


def choose_positions(token_count, count):
    """`count` positions spread over the prompt, first and last included; at most all."""
    return sorted({int(p) for p in np.linspace(0, token_count - 1, count).round()})


def sample_ids(vocab_size, count=SAMPLE_COUNT):
    return np.arange(count, dtype=np.int64) * vocab_size // count


def write(name, vocab_size, prompts):
    """`prompts`: [(name, ids, positions, sampled, full, logits [positions, vocab],
    argmax [ids])]."""
    FIXTURES.mkdir(exist_ok=True)
    meta = {"model": name, "vocab_size": vocab_size, "top_count": TOP_COUNT,
            "sample_count": SAMPLE_COUNT, "prompts": []}
    with open(FIXTURES / f"{name}.bin", "wb") as out:
        for prompt, ids, positions, sampled, full, logits, argmax in prompts:
            row_of = {p: i for i, p in enumerate(positions)}
            for row in logits:
                top = np.argsort(-row, kind="stable")[:TOP_COUNT]
                out.write(log_sum_exp(row).astype("<f4").tobytes())
                out.write(top.astype("<i4").tobytes() + row[top].astype("<f4").tobytes())
            for p in sampled:
                out.write(logits[row_of[p]][sample_ids(vocab_size)].astype("<f4").tobytes())
            for p in full:
                out.write(logits[row_of[p]].astype("<f4").tobytes())
            out.write(argmax.astype("<i4").tobytes())
            meta["prompts"].append({"name": prompt, "ids": ids, "positions": positions,
                                    "sampled_positions": sampled, "full_positions": full})
    lines = ",\n  ".join(json.dumps(p) for p in meta.pop("prompts"))
    head = json.dumps(meta)[:-1]
    (FIXTURES / f"{name}.json").write_text(f'{head}, "prompts": [\n  {lines}\n]}}\n')


def read(name):
    """The meta data; each prompt also gets "logsumexp" [n], "top_ids" and "top_logits" [n, top] at
    its positions, and "argmax" [ids]."""
    meta = json.loads((FIXTURES / f"{name}.json").read_text())
    data = (FIXTURES / f"{name}.bin").read_bytes()
    top, record = meta["top_count"], 1 + 2 * meta["top_count"]
    offset = 0
    for prompt in meta["prompts"]:
        count = len(prompt["positions"])
        rows = np.frombuffer(data, "<f4", count * record, offset).reshape(count, record)
        prompt["logsumexp"], prompt["top_logits"] = rows[:, 0], rows[:, 1 + top:]
        prompt["top_ids"] = np.ascontiguousarray(rows[:, 1:1 + top]).view("<i4")
        offset += 4 * (count * record + len(prompt["sampled_positions"]) * meta["sample_count"]
                       + len(prompt["full_positions"]) * meta["vocab_size"])
        prompt["argmax"] = np.frombuffer(data, "<i4", len(prompt["ids"]), offset)
        offset += 4 * len(prompt["ids"])
    assert offset == len(data), f"{name}.bin has {len(data)} bytes, {offset} expected"
    return meta


def kl_divergence(prompt, logits):
    """KL(reference || logits) [n] for logits [n, vocab] at the prompt's positions: of the
    distributions over the reference's top tokens and "any other token"."""
    rows = np.arange(len(logits))[:, None]
    total_p, total_q = prompt["logsumexp"].astype(np.float64), log_sum_exp(logits)
    log_p = prompt["top_logits"].astype(np.float64) - total_p[:, None]
    log_q = logits[rows, prompt["top_ids"]].astype(np.float64) - total_q[:, None]
    p, q = np.exp(log_p), np.exp(log_q)
    rest_p = np.maximum(1 - p.sum(1), 1e-12)
    rest_q = np.maximum(1 - q.sum(1), 1e-12)
    return (p * (log_p - log_q)).sum(1) + rest_p * np.log(rest_p / rest_q)
