#!/usr/bin/env python3
"""Answers one question in several ways, by giving each answer another beginning.

    examples/compare_beginnings.py "Why is the sky blue?"
"""
import json
import os
import subprocess
import sys

BEGINNINGS = ["In one sentence:", "For a child:", "As a list:\n1."]


def generate(text, token_count_max):
    kvasir = os.environ.get("KVASIR", "kvasir")
    command = [kvasir, "generate", "-p", text, "--max-tokens", str(token_count_max), "--json"]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    return json.loads(output)["answers"][0]


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    for beginning in BEGINNINGS:
        answer = generate(f"Question: {sys.argv[1]}\nAnswer. {beginning}", token_count_max=60)
        print(f"--- {beginning.strip()}  ({len(answer['tokens'])} tokens)")
        print(answer["text"].strip())


if __name__ == "__main__":
    main()
