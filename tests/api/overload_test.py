"""More than the server can take: full queues, too many connections, slow and silent clients, clients that
leave. Every answer is 200, 429 or 503 with Retry-After, memory is bounded, and nothing is left behind.

KVASIR_TEST_STREAMS and KVASIR_TEST_DISCONNECTS raise the counts (scripts/soak does)."""
import concurrent.futures
import json
import os
import random
import socket
import time
import unittest

import kvasir_server
from kvasir_server import CAPITAL, Server

STREAMS = int(os.environ.get("KVASIR_TEST_STREAMS", "200"))
DISCONNECTS = int(os.environ.get("KVASIR_TEST_DISCONNECTS", "60"))


def post(path, body):
    text = json.dumps(body).encode()
    return (f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(text)}\r\n\r\n").encode() + text


def status_of(connection):
    """Reads the head of an answer: (status, headers)."""
    content = b""
    while b"\r\n\r\n" not in content:
        piece = connection.recv(4096)
        if not piece:
            return 0, {}
        content += piece
    lines = content.split(b"\r\n\r\n")[0].decode().split("\r\n")
    return int(lines[0].split()[1]), dict(line.lower().split(": ", 1) for line in lines[1:])


class Overload(unittest.TestCase):
    def test_a_full_queue_is_said_politely(self):
        with Server("--queue-requests", "8", "--sequences", "4") as server:
            body = {"messages": CAPITAL, "max_tokens": 3, "stream": True}
            connections = [server.connect(180) for _ in range(STREAMS)]
            try:
                for connection in connections:
                    connection.sendall(post("/v1/chat/completions", body))
                answers = [status_of(connection) for connection in connections]
            finally:
                for connection in connections:
                    connection.close()
            statuses = [status for status, _ in answers]
            self.assertEqual(set(statuses), {200, 503})
            for status, headers in answers:
                if status == 503:
                    self.assertGreaterEqual(int(headers["retry-after"]), 1)
            self.assertGreaterEqual(statuses.count(200), 8)
            self.assertEqual(server.json("GET", "/health/ready")[0], 200)
            self.assertGreater(server.metrics()['kvasir_requests_refused_total{reason="queue_full"}'], 0)
            self.assertEqual(server.wait_until_idle(), 0)

    def test_too_many_connections(self):
        with Server("--max-connections", "20") as server:
            idle = [server.connect() for _ in range(20)]
            time.sleep(0.3)
            status, headers, content = server.request("GET", "/version")
            self.assertEqual(status, 503)
            self.assertIn(b"server_overloaded", content)
            self.assertTrue(headers["Retry-After"])
            for connection in idle:
                connection.close()
            time.sleep(0.3)
            self.assertEqual(server.request("GET", "/version")[0], 200)

    def test_slow_senders_are_cut_off(self):
        with Server("--head-timeout-ms", "500", "--body-timeout-ms", "800", "--idle-timeout-ms",
                    "700") as server:
            head, body, idle = server.connect(), server.connect(), server.connect()
            head.sendall(b"GET /version HT")
            body.sendall(b"POST /tokenize HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
            deadline = time.monotonic() + 10
            for connection in (head, body):
                self.assertEqual(status_of(connection)[0], 408)
            self.assertEqual(idle.recv(10), b"")
            self.assertLess(time.monotonic(), deadline)
            for connection in (head, body, idle):
                connection.close()

    def test_clients_that_never_read_cost_little_and_disturb_nobody(self):
        with Server("--write-timeout-ms", "2000", "--max-stream-queue", "8K") as server:
            body = {"prompt": "x", "max_tokens": 4000, "n": 4, "ignore_eos": True, "stream": True,
                    "logprobs": 20, "temperature": 1}
            silent = []
            for _ in range(3):
                connection = socket.socket()
                self.addCleanup(connection.close)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                connection.connect(("127.0.0.1", server.port))
                connection.sendall(post("/v1/completions", body))
                silent.append(connection)
            status, _, content = server.request(
                "POST", "/v1/chat/completions", {"messages": CAPITAL, "max_tokens": 4})
            self.assertEqual(status, 200, content)
            # They are given up and leave nothing behind, though their answers are not complete.
            self.assertEqual(server.wait_until_idle(120), 0)
            generated = server.metrics()["kvasir_generated_tokens_total"]
            self.assertLess(generated, 3 * 4 * 4000)


class Disconnects(unittest.TestCase):
    def test_leaving_at_any_moment_frees_everything_and_changes_nobody(self):
        """Queued, while the prompt is read, while the answer is written, in the middle of a request."""
        random.seed(5)
        steady = {"messages": CAPITAL, "max_tokens": 24, "temperature": 0}
        with Server("--sequences", "6") as server:
            expected = server.json("POST", "/v1/chat/completions", steady)[1]["choices"]

            def leave(_):
                long = random.random() < 0.3
                body = {"messages": [{"role": "user", "content": "word " * (2000 if long else 20)}],
                        "max_tokens": 400, "ignore_eos": True, "stream": random.random() < 0.7}
                request = post("/v1/chat/completions", body)
                if random.random() < 0.1:
                    request = request[:random.randrange(len(request))]
                with server.connect() as connection:
                    connection.sendall(request)
                    time.sleep(random.random() ** 3)
                    if random.random() < 0.3:  # with a reset
                        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                              b"\x01\x00\x00\x00\x00\x00\x00\x00")

            with concurrent.futures.ThreadPoolExecutor(12) as pool:
                leaving = [pool.submit(leave, i) for i in range(DISCONNECTS)]
                answers = [server.json("POST", "/v1/chat/completions", steady) for _ in range(3)]
                for task in leaving:
                    task.result()
            for status, reply in answers:
                self.assertEqual(status, 200)
                self.assertEqual(reply["choices"], expected)
            self.assertEqual(server.wait_until_idle(), 0)
            metrics = server.metrics()
            self.assertEqual(metrics["kvasir_requests_running"], 0)
            self.assertEqual(metrics["kvasir_requests_waiting"], 0)
            deadline = time.monotonic() + 10
            while server.metrics()["kvasir_connections"] > 1:
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.05)


if __name__ == "__main__":
    kvasir_server.main()
