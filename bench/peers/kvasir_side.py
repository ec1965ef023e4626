"""Our side of bench/peers/run: the kvasir program, one process for each measurement."""

import json
import subprocess


class KvasirError(Exception):
    """kvasir refused; the message is its own."""


class Kvasir:
    def __init__(self, program, threads, target="auto"):
        self._program, self._threads, self._target = str(program), str(threads), target

    def _run(self, command, model, *arguments):
        result = subprocess.run(
            [self._program, command, "--json", "--model", str(model), "--threads", self._threads,
             "--target", self._target, *map(str, arguments)], text=True, capture_output=True, stdin=subprocess.DEVNULL)
        if result.returncode:
            raise KvasirError(f"kvasir {command}: {result.stderr.strip().splitlines()[-1:]}")
        return json.loads(result.stdout)

    def describe(self, model):
        """What `kvasir bench` says about the machine and the file; "weights" is the type."""
        answer = self._run("bench", model, "--tests", "pp1", "--repetitions", 1)
        weights = answer.pop("rows")[0]["weights"]
        return {**answer, "weights": weights}

    def continue_greedily(self, model, text, count):
        """(ids of the prompt, ids of the continuation)."""
        answer = self._run("generate", model, "--prompt", text, "--temperature", 0,
                           "--max-tokens", count)
        return answer["prompt_tokens"], answer["answers"][0]["tokens"]

    def measure(self, model, shape, repetitions):
        """Tokens per second, the median of the repetitions."""
        sequences = shape["sequences"]
        before = ["--prompt" if sequences > 1 else "--depth", shape["depth"]]
        answer = self._run("bench", model, "--tests", f"{shape['kind']}{shape['tokens']}",
                           "--sequences", sequences, *before, "--repetitions", repetitions)
        return answer["rows"][0]["tokens_per_second_median"]
