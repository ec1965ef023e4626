#!/usr/bin/env python3
"""Prints the digests that kvasir/kv/block_key_test.cc expects, by hashlib, from the drawing in
kvasir/kv/block_key.h."""

import hashlib
import struct


def text(value):
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def number_field(tag, value):
    return text(tag) + struct.pack("<QQ", 8, value)


def floats_field(tag, *values):
    return text(tag) + struct.pack(f"<Q{len(values)}f", 4 * len(values), *values)


def sha256(data):
    return hashlib.sha256(data).digest()


def main():
    fingerprint = sha256(text("kvasir fingerprint") + text("family") + text("llama") +
                         number_field("layers", 30) + floats_field("eps", 1e-5) +
                         floats_field("rope", 1.0, 0.5, 0.25))
    root = sha256(text("kvasir root") + fingerprint + text("tenant 7"))
    first = sha256(text("kvasir block") + root + struct.pack("<32i", *range(32)))
    second = sha256(text("kvasir block") + first + struct.pack("<32i", *range(49151, 49119, -1)))
    for name in ("fingerprint", "root", "first", "second"):
        print(name, locals()[name].hex())


if __name__ == "__main__":
    main()
