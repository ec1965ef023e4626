#!/usr/bin/env python3
"""Writes a cached block's record after docs/record_format.md, apart from the C++ code, to record_golden.bin beside it for
tests/cli_program_test.py, and prints its SHA-256 for kvasir/store/record_test.cc. Needs the package xxhash."""

import hashlib
import pathlib
import struct

import xxhash


def crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def record() -> bytes:
    payload = bytes((7 * i + i // 251) % 256 for i in range(5000))
    sections = [1000, 0, 4000]
    tokens = [3 * i - 1 for i in range(32)]
    header = b"KVASIRRC" + struct.pack("<IIIIQ", 1, 4096, 0, 0, 77)
    header += digest("fingerprint") + digest("key") + digest("parent") + digest("tenant")
    header += struct.pack("<QIIQQIIqq", 64, len(tokens), len(sections), len(payload), len(payload), 0, 0,
                          1700000000123, 1800000000456)
    header = header.ljust(256, b"\0") + struct.pack("<32i", *tokens)
    header = header.ljust(256 + 4 * 256, b"\0")
    begin = 0
    for byte_count in sections:
        part = payload[begin:begin + byte_count]
        header += struct.pack("<QII", xxhash.xxh3_64_intdigest(part), byte_count, byte_count)
        begin += byte_count
    header = header.ljust(4096, b"\0")
    crc = crc32c(header)
    header = header[:16] + struct.pack("<I", crc) + header[20:]
    record_bytes = (4096 + len(payload) + 64 + 4095) // 4096 * 4096
    footer = (b"KVASIRND" + struct.pack("<QQI", 77, record_bytes, crc)).ljust(60, b"\0")
    footer += struct.pack("<I", crc32c(footer))
    return (header + payload).ljust(record_bytes - 64, b"\0") + footer


if __name__ == "__main__":
    pathlib.Path(__file__).with_suffix(".bin").write_bytes(record())
    print(hashlib.sha256(record()).hexdigest())
