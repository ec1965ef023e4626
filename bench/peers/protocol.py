"""How bench/peers/run talks to a peer: one JSON object a line, over the standard streams of a
process that lives in the peer's own environment and keeps its model loaded.

Requests are {"call": NAME, ARGUMENTS...}, answers {"result": ...} or {"error": SENTENCE}. A peer
answers these calls:

  info()                          -> {"version", "build"}
  open(model, threads)            -> {"context_length"}
  continue_greedily(ids, count)   -> ids of the continuation
  argmax_after(ids, first)        -> the most likely next id after ids[:i], i = first .. len(ids)
  settings(shape)                 -> names of the settings that are worth trying for this shape
  prepare(shape, setting)         -> None; everything that is not measured
  measure(repetitions)            -> tokens per second, by repetition, after one that is not counted

A shape is {"kind": "pp" | "tg", "tokens", "depth", "sequences"}: "pp" reads a prompt of `tokens`
and computes the logits of the last; "tg" writes `tokens` tokens to each of `sequences` sequences,
all in one batch, one at a time, each of which has `depth` tokens before.
"""

import json
import os
import subprocess
import sys


def serve(peer):
    """Answers calls to the public methods of `peer` until the stream ends."""
    # Libraries print to standard output: keep the protocol's stream for itself.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"result": getattr(peer, request.pop("call"))(**request)}
        except Exception as error:  # whatever a library raises is an answer, not the end
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers)


class PeerError(Exception):
    """The peer could not do what it was asked; the message says why."""


class Peer:
    """The client's side of a peer process: calls are methods."""

    def __init__(self, python, script, log):
        self._log_path = log
        self._process = subprocess.Popen(
            [python, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=open(log, "a"), text=True, bufsize=1)

    def __getattr__(self, name):
        def call(**arguments):
            try:
                self._process.stdin.write(json.dumps({"call": name, **arguments}) + "\n")
                answer = self._process.stdout.readline()
            except BrokenPipeError:
                answer = ""
            if not answer:
                raise PeerError(f"the process ended during {name} (log: {self._log_path})")
            answer = json.loads(answer)
            if "error" in answer:
                raise PeerError(f"{name}: {answer['error']}")
            return answer["result"]
        return call

    def close(self):
        self._process.stdin.close()
        self._process.wait()
