"""How a server starts and stops: refusals, draining, a second signal, TLS, unix sockets, readiness."""
import concurrent.futures
import json
import os
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import unittest

import kvasir_server
from kvasir_server import CAPITAL, Server


def refused(*flags, **environment):
    """Standard error of a serve that must not start."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("KVASIR_")}
    done = subprocess.run([kvasir_server.program(), "serve", *flags], capture_output=True,
                          env={**inherited, **environment}, timeout=60)
    assert done.returncode == 2, (done.returncode, done.stderr)
    return done.stderr.decode()


class Configuration(unittest.TestCase):
    def printed(self, *flags, **environment):
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("KVASIR_")}
        done = subprocess.run([kvasir_server.program(), "serve", "--print-config", *flags],
                              capture_output=True, env={**inherited, **environment}, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.decode()

    def test_flags_beat_the_environment_and_that_beats_the_file(self):
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
            file.write('port = 1111\nsequences = 3\nmax_connections = 7\nstrict = true\n'
                       'model_name = ["a", "b"]\n')
            file.flush()
            text = self.printed("--config", file.name, "--port", "3333", KVASIR_PORT="2222",
                                KVASIR_SEQUENCES="5")
            for line in ("port = 3333  # flag", "sequences = 5  # environment",
                         "max_connections = 7  # file", "strict = true  # file",
                         'model_name = ["a","b"]  # file', "io_threads = 2  # default"):
                self.assertIn(line + "\n", text)
            # What is printed can be read again.
            with tempfile.NamedTemporaryFile("w", suffix=".toml") as again:
                again.write(text)
                again.flush()
                self.assertIn("port = 3333  # file\n", self.printed("--config", again.name))

    def test_refusals(self):
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
            file.write("max_conections = 7\n")
            file.flush()
            self.assertIn("did you mean max_connections?", refused("--config", file.name))
        self.assertIn("KVASIR_PORT: '99999' is not a whole number from 0 to 65535",
                      refused(KVASIR_PORT="99999"))
        self.assertIn("--kv: 'fp3' is not one of", refused("--kv", "fp3"))
        self.assertIn("no API key", refused("--host", "0.0.0.0"))
        self.assertIn("no API key", refused("--host", "0.0.0.0", KVASIR_ADMIN_KEY="only-admins"))
        self.assertIn("fewer than", refused(KVASIR_API_KEY="short"))
        self.assertIn("did you mean --port?", refused("--prot", "1"))
        self.assertIn("TLS needs both", refused("--tls-cert", "x"))


class Stopping(unittest.TestCase):
    def test_running_answers_end_and_new_ones_are_refused(self):
        with Server("--sequences", "16", "--drain-seconds", "300") as server:
            started = threading.Semaphore(0)

            def one(_):
                connection = server.connect()
                with connection, connection.makefile("rb") as lines:
                    body = json.dumps({"messages": CAPITAL, "max_tokens": 12, "temperature": 0,
                                       "ignore_eos": True, "stream": True,
                                       "stream_options": {"include_usage": True}}).encode()
                    connection.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
                                       b"Content-Type: application/json\r\nContent-Length: "
                                       + str(len(body)).encode() + b"\r\n\r\n" + body)
                    content = b""
                    while b"\r\n0\r\n\r\n" not in content[-16:]:
                        line = lines.readline()
                        if not line:
                            break
                        content += line
                        if b"data:" in line and b"role" in line:
                            started.release()
                    return content

            with concurrent.futures.ThreadPoolExecutor(50) as pool:
                streams = [pool.submit(one, i) for i in range(50)]
                for _ in range(4):
                    started.acquire(timeout=60)
                server.process.send_signal(signal.SIGTERM)
                asked = time.monotonic()
                while server.json("GET", "/health/ready")[0] != 503:
                    self.assertLess(time.monotonic() - asked, 2)
                status, headers, content = server.request("POST", "/v1/chat/completions",
                                                          {"messages": CAPITAL})
                self.assertEqual(status, 503)
                self.assertIn(b"shutting_down", content)
                self.assertTrue(headers["Retry-After"])
                self.assertEqual(server.json("GET", "/health/live")[0], 200)
                for stream in streams:
                    content = stream.result()
                    self.assertIn(b"data: [DONE]", content[-200:])
                    self.assertIn(b'"completion_tokens":12', content[-600:])
            self.assertEqual(server.process.wait(30), 0)

    def test_a_second_signal_ends_at_once(self):
        with Server("--drain-seconds", "600") as server:
            with concurrent.futures.ThreadPoolExecutor(1) as pool:
                answer = pool.submit(server.request, "POST", "/v1/completions",
                                     {"prompt": "x", "max_tokens": 4000, "ignore_eos": True})
                while server.metrics()["kvasir_requests_running"] == 0:
                    time.sleep(0.02)
                server.process.send_signal(signal.SIGTERM)
                server.wait_for_line("stopping")
                time.sleep(0.3)
                self.assertIsNone(server.process.poll())
                server.process.send_signal(signal.SIGINT)
                self.assertEqual(server.process.wait(20), 0)
                status, _, content = answer.result()
                self.assertEqual(status, 503)
                self.assertIn(b"shutting_down", content)


class KeysAndValues(unittest.TestCase):
    def test_the_choice_is_visible(self):
        for flags, line, rotation in [
                (["--kv", "int8"], r"keys and values in int8, 8\.27 bits, rotation hadamard$",
                 "hadamard"),
                (["--kv", "k8v4", "--kv-rotation", "off"],
                 r"keys and values in int8/int4, 6\.40 bits, rotation none$", "none")]:
            with Server(*flags) as server:
                self.assertRegex(server.wait_for_line(r"is ready"), line)
                meta = server.json("GET", "/v1/models")[1]["data"][0]["meta"]
                self.assertEqual(meta["kv_rotation"], rotation)
        self.assertIn("kv_open_blocks is 3, allowed are 1, 2, 4 and 8",
                      refused("--kv", "int8", "--kv-open-blocks", "3",
                              KVASIR_MODEL=kvasir_server.MODEL))
        self.assertIn("--kv-rotation: 'maybe' is not one of on|off",
                      refused("--kv-rotation", "maybe"))


class Listening(unittest.TestCase):
    def test_a_unix_socket(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "kvasir.sock")
            with Server("--host", "", "--unix-socket", path):
                connection = socket.socket(socket.AF_UNIX)
                connection.connect(path)
                with connection:
                    connection.sendall(b"GET /health/ready HTTP/1.1\r\nHost: x\r\n\r\n")
                    self.assertTrue(connection.recv(4096).startswith(b"HTTP/1.1 200 OK"))
            self.assertFalse(os.path.exists(path))

    def test_tls(self):
        with tempfile.TemporaryDirectory() as folder:
            certificate, key = (os.path.join(folder, name) for name in ("cert.pem", "key.pem"))
            made = subprocess.run(
                ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                 "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1", "-subj", "/CN=localhost",
                 "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
                capture_output=True)
            if made.returncode != 0:
                self.skipTest("openssl could not make a certificate")
            with Server("--tls-cert", certificate, "--tls-key", key) as server:
                context = ssl.create_default_context(cafile=certificate)
                with context.wrap_socket(server.connect(), server_hostname="127.0.0.1") as stream:
                    body = json.dumps({"messages": CAPITAL, "max_tokens": 4, "stream": True})
                    stream.sendall(f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
                                   f"Content-Type: application/json\r\nConnection: close\r\n"
                                   f"Content-Length: {len(body)}\r\n\r\n{body}".encode())
                    content = b""
                    while piece := stream.recv(65536):
                        content += piece
                    self.assertIn(b"data: [DONE]", content)
                with server.connect() as plain:
                    plain.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                    self.assertNotIn(b"200", plain.recv(4096))


if __name__ == "__main__":
    kvasir_server.main()
