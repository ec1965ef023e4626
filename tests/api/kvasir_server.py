"""A `kvasir serve` process for a test: starts it on a free port, waits until it is ready, and hands out
clients and raw connections. Used by the *_test.py beside it, each of which gets the path of the program."""
import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import unittest

CACHE = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
MODEL = os.environ.get("KVASIR_MODEL") or os.path.join(
    CACHE, "kvasir/models/SmolLM2-135M-Instruct.Q4_1.gguf")
SKIPPED = 77  # what CTest takes as skipped
READY_SECONDS = 120
ADMIN_KEY = "admin-key-of-the-tests"
SYSTEM = {"role": "system", "content": "You are a helpful assistant."}
CAPITAL = [SYSTEM, {"role": "user", "content": "What is the capital of France?"}]


def program():
    """The path of kvasir, the test's first argument."""
    return os.path.abspath(sys.argv[1])


def main():
    """Runs the tests of the calling file, or skips them when the model is not there."""
    if not os.path.exists(MODEL):
        print(f"skipped: there is no model at {MODEL}")
        sys.exit(SKIPPED)
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]], verbosity=2)


class Server:
    """A running server. Leaving the `with` block stops it and checks that it ended well."""

    def __init__(self, *flags, environment=None, scheme="http", port=True):
        self.flags = flags
        self.scheme = scheme
        self.uses_port = port
        self.environment = {"KVASIR_ADMIN_KEY": ADMIN_KEY, "KVASIR_MODEL": MODEL,
                            **(environment or {})}
        self.lines = []
        self.port = None
        self.process = None

    def __enter__(self):
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("KVASIR_")}
        command = [program(), "serve", "--port", "0", "--kv-bytes", "256M", "--context", "4096",
                   *self.flags]
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            env={**inherited, **self.environment})
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        self.wait_for_line(r"is ready")
        # The line is written just before requests are served.
        time.sleep(0.05)
        return self

    def _read(self):
        for line in self.process.stderr:
            text = line.decode(errors="replace").rstrip("\n")
            listening = re.search(r"listening on \S+ port (\d+)", text)
            if listening:
                self.port = int(listening.group(1))
            self.lines.append(text)

    def wait_for_line(self, pattern, seconds=READY_SECONDS):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = [line for line in list(self.lines) if re.search(pattern, line)]
            if found:
                return found[0]
            if self.process.poll() is not None:
                self.reader.join(5)
                break
            time.sleep(0.01)
        raise AssertionError(f"no line with {pattern!r} in:\n" + "\n".join(self.lines))

    def __exit__(self, kind, value, traceback):
        code = self.stop()
        if kind is None and code != 0:
            raise AssertionError(f"the server ended with {code}:\n" + "\n".join(self.lines[-20:]))

    def stop(self, seconds=60):
        """Asks it to stop, twice to be quick, and returns its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(10)
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.reader.join(5)
        self.process.stderr.close()
        return self.process.returncode

    def url(self, path=""):
        return f"{self.scheme}://127.0.0.1:{self.port}{path}"

    def client(self, **options):
        import openai
        return openai.OpenAI(base_url=self.url("/v1"), **{"api_key": "any", "max_retries": 0,
                                                          "timeout": 120, **options})

    def async_client(self, **options):
        import openai
        return openai.AsyncOpenAI(base_url=self.url("/v1"), **{"api_key": "any", "max_retries": 0,
                                                               "timeout": 120, **options})

    def connect(self, seconds=60):
        """A socket to the server."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=seconds)

    def request(self, method, path, body=None, headers=None, seconds=120):
        """(status, headers, body) of one request; a body that is no string is sent as JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)
        try:
            sent = {"Content-Type": "application/json"} if body is not None else {}
            text = body if body is None or isinstance(body, (bytes, str)) else json.dumps(body)
            connection.request(method, path, text, {**sent, **(headers or {})})
            response = connection.getresponse()
            content = response.read()
            return response.status, response.headers, content
        finally:
            connection.close()

    def json(self, method, path, body=None, headers=None):
        """(status, the answer as JSON)."""
        status, _, content = self.request(method, path, body, headers)
        return status, json.loads(content)

    def admin(self, method, path, body=None):
        return self.json(method, path, body, {"Authorization": f"Bearer {ADMIN_KEY}"})

    def metrics(self):
        """Samples of /metrics by name with labels."""
        text = self.request("GET", "/metrics")[2].decode()
        return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1])
                for line in text.splitlines() if line and not line.startswith("#")}

    def wait_until_idle(self, seconds=30):
        """Waits until no request holds blocks; the number of blocks that are still held."""
        deadline = time.monotonic() + seconds
        while True:
            held = self.metrics()['kvasir_kv_blocks{state="used"}']
            if held == 0 or time.monotonic() > deadline:
                return held
            time.sleep(0.02)


class ServerTest(unittest.TestCase):
    """Tests that share one server, started with the class's FLAGS."""
    FLAGS = ()
    ENVIRONMENT = {}

    @classmethod
    def setUpClass(cls):
        cls.server = Server(*cls.FLAGS, environment=cls.ENVIRONMENT)
        cls.server.__enter__()
        cls.client = cls.server.client()
        cls.model = cls.client.models.list().data[0].id if not cls.ENVIRONMENT else None

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__(None, None, None)
