"""What bench/serving/run measures: the load, the figures that count, and their bars."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Bar:
    """A ratio, ours over the other's (or ours beside over ours alone), and its bound."""
    figure: str
    bound: float = None  # None: shown, held to nothing
    at_least: bool = True

    def met(self, value):
        if self.bound is None:
            return None
        return value >= self.bound if self.at_least else value <= self.bound

    def text(self):
        return "-" if self.bound is None else f"{'>=' if self.at_least else '<='} {self.bound:g}"


@dataclasses.dataclass(frozen=True)
class Cell:
    name: str
    flags: tuple          # of kvasir bench serve
    bars: dict            # weights' type -> (Bar, ...)
    against: str = "peer"  # "peer"; "no cache": our own server without its prefix cache


def _both(*bars):
    return {"Q8_0": bars, "Q4_1": bars}


def _burst_bars(rate):
    return (Bar("requests_per_s", rate, True), Bar("ttft_ms_p50", 0.5, False),
            Bar("itl_ms_p99", 0.1, False), Bar("stall_ms_p50"))


CELLS = (
    # 16 clients, 256 tokens in, 64 out, all at once.
    Cell("burst", ("--requests", 16, "--input", 256, "--output", 64, "--endpoint", "completions"),
         {"Q8_0": _burst_bars(2), "Q4_1": _burst_bars(3)}),
    # 16 clients whose prompts begin with the same 2,048 tokens, which no server has seen before.
    Cell("shared", ("--requests", 16, "--shared-prefix", 2048, "--input", 64, "--output", 64,
                    "--endpoint", "completions"), _both(Bar("requests_per_s", 6, True))),
    # Every user waits for the answer, thinks for no time, and sends the conversation again.
    Cell("chat", ("--users", 8, "--turns", 6, "--input", 128, "--output", 64),
         _both(Bar("requests_per_s", 3, True))),
    # One client after the other with 32 new tokens behind 4,000 that the server knows.
    Cell("warm", ("--requests", 5, "--concurrency", 1, "--shared-prefix", 4000, "--warm-prefix",
                  "--input", 32, "--output", 8, "--endpoint", "completions"),
         _both(Bar("ttft_ms_p50", 0.4, False))),
    # An answer is written; prompts of 4,000 tokens come in beside it.
    Cell("beside", ("--beside", 4000, "--input", 32, "--output", 1000, "--endpoint", "completions"),
         _both(Bar("itl_beside_over_alone_p99", 2.5, False))),
    # The load of `shared` on our server with and without its prefix cache.
    Cell("cache", ("--requests", 16, "--shared-prefix", 2048, "--input", 64, "--output", 64,
                   "--endpoint", "completions"), _both(Bar("duration_s", 0.25, False)),
         against="no cache"),
)
# Tokens of the longest sequence of any cell, with room for chat templates.
CONTEXT = 4608
SLOTS = 16
