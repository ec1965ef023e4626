"""The test text of the tokenizers: a function of tokenizer_words.json and of a segment's number.

kvasir/text/tokenizer_test_text.h is the same generator in C++: every draw happens in the same
order in both, so that a change here is a change there (the committed hashes tell).
"""

import json
import os

SEGMENT_COUNT = 1900
_MASK = (1 << 64) - 1


class Generator:
    """Knuth's 64-bit linear congruential generator; the upper 31 bits are drawn."""

    def __init__(self, seed):
        self.state = (seed * 0x9E3779B97F4A7C15 + 1) & _MASK

    def below(self, n):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) & _MASK
        return (self.state >> 33) % n

    def pick(self, items):
        return items[self.below(len(items))]


def load_words():
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tokenizer_words.json")
    with open(path, encoding="utf-8") as f:
        return json.load(f)


def _random_char(g, words):
    low, high = g.pick(words["ranges"])
    return chr(low + g.below(high - low + 1))



def _prose(g, words, scripts):
    out = ""
    for _ in range(20 + g.below(60)):
        out += g.pick(g.pick(scripts))
        if g.below(6) == 0:
            out += g.pick(words["punctuation"])
        out += " "
    return out


def _list(g, words, name, joiners):
    out = ""
    for _ in range(20 + g.below(60)):
        out += g.pick(words[name])
        out += g.pick(joiners)
    return out


def segment(words, number):
    g = Generator(number)
    scripts = list(words["scripts"].values())
    kind = g.below(12)
    if kind <= 1:
        return _prose(g, words, [g.pick(scripts)])
    if kind == 2:
        return _prose(g, words, scripts)
    if kind == 3:
        out = ""
        for _ in range(10 + g.below(50)):
            out += g.pick(g.pick(scripts)) + g.pick(words["spaces"])
        return out
    if kind == 4:
        return _list(g, words, "numbers", [" ", "", ", ", "\n", "a", "  "])
    if kind == 5:
        return _list(g, words, "emoji", ["", " ", "x", "\n"])
    if kind == 6:
        return _list(g, words, "marks", ["", "", " ", "b"])
    if kind == 7:
        return _list(g, words, "code", ["\n", "\n    ", "\n\t", " ", "\r\n"])
    if kind == 8:
        return _list(g, words, "contractions", [" ", "", "\n", " '"])
    if kind == 9:
        out = ""
        for _ in range(10 + g.below(40)):
            out += g.pick(g.pick(scripts)) + g.pick(["", " ", "  ", "\n"])
            out += g.pick(words["specials"]) + g.pick(["", " ", "  ", "\n"])
        return out
    if kind == 10:
        script = g.pick(scripts)
        out = ""
        for _ in range(50 + g.below(200)):
            out += g.pick(script)
        return out
    out = ""
    for _ in range(50 + g.below(300)):
        out += _random_char(g, words)
    return out


def all_segments():
    words = load_words()
    return [segment(words, i) for i in range(SEGMENT_COUNT)]
