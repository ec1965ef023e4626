"""Server processes for bench/serving/run: started, asked, looked at, and stopped."""

import contextlib
import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess
import time

READY_SECONDS = 180
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class ServerError(Exception):
    """A server did not start or refused; the message says which and why."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class ServerProcess:
    """A server on a free port of this machine, inside a `with` block."""

    def __init__(self, name, command, log, environment=None):
        """`command` takes the port, as a text, where it has {port}."""
        self.name = name
        self.port = free_port()
        self.command = [str(part).replace("{port}", str(self.port)) for part in command]
        self.log = pathlib.Path(log)
        self.environment = {**os.environ, **(environment or {})}
        self.process = None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self):
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, env=self.environment)
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise ServerError(f"{self.name} ended with {self.process.returncode} "
                                  f"(log: {self.log})")
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self._request("GET", "/health")[0] == 200:
                    return self
            time.sleep(0.1)
        self.stop()
        raise ServerError(f"{self.name} was not ready within {READY_SECONDS} s (log: {self.log})")

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def _request(self, method, path, body=None, seconds=120):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)
        try:
            text = None if body is None else json.dumps(body)
            connection.request(method, path, text, {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def post(self, path, body):
        """The answer as JSON."""
        status, content = self._request("POST", path, body)
        if status != 200:
            raise ServerError(f"{self.name} answers {path} with {status}: {content[:200]!r}")
        return json.loads(content)

    def processes(self):
        """Ids of the process and all below it."""
        found, waiting = [], [self.process.pid]
        while waiting:
            pid = waiting.pop()
            found.append(pid)
            with contextlib.suppress(OSError):
                for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
                    waiting += map(int, (task / "children").read_text().split())
        return found

    def cpu_seconds(self):
        total = 0
        for pid in self.processes():
            with contextlib.suppress(OSError):
                fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                total += (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND
        return total

    def idle_share(self, seconds=1.0):
        """Cores that it keeps busy while nobody asks anything."""
        before = self.cpu_seconds()
        time.sleep(seconds)
        return (self.cpu_seconds() - before) / seconds

    def memory_bytes(self):
        """{"resident", "peak"} of all its processes; peaks need not have been at one time."""
        memory = {"resident": 0, "peak": 0}
        for pid in self.processes():
            with contextlib.suppress(OSError):
                for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
                    key, _, value = line.partition(":")
                    if key in ("VmRSS", "VmHWM"):
                        name = "resident" if key == "VmRSS" else "peak"
                        memory[name] += int(value.split()[0]) * 1024
        return memory


def kvasir(program, model, threads, log, slots, context, extra=()):
    return ServerProcess(
        "kvasir", [program, "serve", "--port", "{port}", "--model", model, "--threads", threads,
                   "--sequences", slots, "--context", context, "--log-format", "off", *extra], log)


# What may matter to llama-server's speed on a CPU: flash attention, and one KV buffer for all
# slots. The rest of its defaults are its best already: continuous batching, prompt caching,
# repacked weights, a prompt cache in RAM.
LLAMA_SETTINGS = {
    "flash": ("--flash-attn", "on", "--no-kv-unified"),
    "flash-unified": ("--flash-attn", "on", "--kv-unified"),
    "plain": ("--flash-attn", "off", "--no-kv-unified"),
    "plain-unified": ("--flash-attn", "off", "--kv-unified"),
}


def llama_server(program, model, threads, log, slots, context, setting):
    return ServerProcess(
        "llama-server", [program, "--host", "127.0.0.1", "--port", "{port}", "--model", model,
                         "--threads", threads, "--threads-batch", threads, "--parallel", slots,
                         "--ctx-size", slots * context, "--no-webui",
                         *LLAMA_SETTINGS[setting]], log)
