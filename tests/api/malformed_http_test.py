"""Malformed HTTP: framing, smuggling, chunks, headers, targets, bodies; made with a seed from a few shapes.
Each must end in a 4xx with a JSON error or a closed connection, and the server must live.

KVASIR_TEST_MALFORMED and KVASIR_TEST_SEED change how many and which (scripts/soak does)."""
import json
import os
import random
import socket
import time
import unittest

import kvasir_server
from kvasir_server import Server

COUNT = int(os.environ.get("KVASIR_TEST_MALFORMED", "2000"))
SEED = int(os.environ.get("KVASIR_TEST_SEED", "1"))

# Requests that must be refused whatever stands around them: (bytes, allowed statuses).
FIXED = [
    (b"POST /tokenize HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
     b"0\r\n\r\n", {400}),
    (b"POST /tokenize HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"
     b"0\r\n\r\n", {400}),
    (b"POST /tokenize HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef", {400}),
    (b"POST /tokenize HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nabcde", {400}),
    (b"POST /tokenize HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 5\r\n\r\nabcde", {400}),
    (b"POST /tokenize HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", {400}),
    (b"POST /tokenize HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\nabcde", {400}),
    (b"POST /tokenize HTTP/1.1\r\nHost: x\r\nContent-Length: 0x5\r\n\r\nabcde", {400}),
    (b"POST /tokenize HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n", {400}),
    (b"POST /tokenize HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999999\r\n\r\n", {413}),
    (b"POST /tokenize HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", {400}),
    (b"POST /tokenize HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", {400}),
    (b"POST /tokenize HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", {400}),
    (b"POST /tokenize HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n", {400}),
    (b"POST /tokenize HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", {400}),
    (b"POST /tokenize HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nab\r\n", {400}),
    (b"POST /tokenize HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
     b"ffffffffffffffffff\r\nab\r\n", {400}),
    (b"POST /tokenize HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\nab\r\n", {413}),
    (b"POST /tokenize HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabXX0\r\n\r\n", {400}),
    (b"GET /version HTTP/1.1\r\n\r\n", {400}),
    (b"GET /version HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", {400}),
    (b"GET /version HTTP/2.0\r\nHost: x\r\n\r\n", {400}),
    (b"GET /version HTTP/0.9\r\nHost: x\r\n\r\n", {400}),
    (b"GET /version\r\n\r\n", {400}),
    (b"GET version HTTP/1.1\r\nHost: x\r\n\r\n", {400}),
    (b"GET /ver\x00sion HTTP/1.1\r\nHost: x\r\n\r\n", {400}),
    (b"GET /version HTTP/1.1\r\nHost: x\r\nBad Header: 1\r\n\r\n", {400}),
    (b"GET /version HTTP/1.1\r\nHost: x\r\nBad: \x00\r\n\r\n", {400}),
    (b"GET /version HTTP/1.1\r\nHost: x\r\n: 1\r\n\r\n", {400}),
    (b"GET /version HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 10000 + b"\r\n", {431}),
    (b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", {431}),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 100, {400}),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400}),
    (b"G" * 5000, {400, 408}),
    (b"BREW /version HTTP/1.1\r\nHost: localhost\r\n\r\n", {405}),
    (b"GET /%00%ff%c0%af HTTP/1.1\r\nHost: localhost\r\n\r\n", {404}),
    (b"GET /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n", {404}),
]

JSON_SEEDS = [
    b'{"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}',
    b'{"prompt": "x", "max_tokens": 1, "stop": ["a"], "logit_bias": {"5": 1.5}}',
    b'{"messages": [{"role": "user", "content": [{"type": "text", "text": "\\ud83d"}]}]}',
]


def mutate(rng, data):
    """A few random changes to bytes."""
    data = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(5)
        if kind == 0 and at < len(data):
            data[at] = rng.randrange(256)
        elif kind == 1:
            data[at:at] = bytes(rng.randrange(256) for _ in range(rng.randint(1, 8)))
        elif kind == 2:
            del data[at:at + rng.randint(1, 20)]
        elif kind == 3:
            data[at:at] = rng.choice([b"[" * 2000, b"\r\n", b"\x00", b"\xff\xfe", b'"', b"1e999",
                                      b"-9" * 50, b"NaN", b"{}", b"\\u0000", b"\xf0\x9f"])
        else:
            data = data + data[:at]
    return bytes(data)


def random_request(rng):
    if rng.random() < 0.4:
        return mutate(rng, rng.choice(FIXED)[0][:3000])
    path = rng.choice([b"/v1/chat/completions", b"/v1/completions", b"/tokenize", b"/detokenize",
                       b"/apply-template"])
    body = mutate(rng, rng.choice(JSON_SEEDS))
    return (b"POST " + path + b" HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: " + str(len(body)).encode() + b"\r\n\r\n" + body)


def answers_to(server, request):
    """Sends bytes and the end of the stream; the statuses and bodies of what comes back."""
    with server.connect(30) as connection:
        try:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it has heard enough
        content = b""
        try:
            while piece := connection.recv(65536):
                content += piece
        except ConnectionResetError:
            pass
    answers = []
    while content:
        head, separator, rest = content.partition(b"\r\n\r\n")
        assert separator, content[:200]
        status = int(head.split(b" ", 2)[1])
        lengths = [int(line.split(b":")[1]) for line in head.split(b"\r\n")
                   if line.lower().startswith(b"content-length:")]
        length = lengths[0] if lengths else 0
        answers.append((status, rest[:length]))
        content = rest[length:] if status != 100 else rest
        if b"chunked" in head:
            break
    return answers


class MalformedHttp(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server("--log-format", "off", "--head-timeout-ms", "3000",
                            "--body-timeout-ms", "5000", "--timeout-ms", "20000")
        cls.server.__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__(None, None, None)

    def check_error(self, status, body, request):
        self.assertTrue(400 <= status < 500, (status, request[:200]))
        error = json.loads(body)["error"]
        self.assertTrue(error["message"] and error["code"], request[:200])

    def test_known_tricks(self):
        for request, statuses in FIXED:
            with self.subTest(request=request[:90]):
                with self.server.connect(30) as connection:
                    try:
                        connection.sendall(request)
                    except OSError:
                        pass
                    content = b""
                    connection.settimeout(30)
                    try:
                        while piece := connection.recv(65536):
                            content += piece
                            if status_complete(content):
                                break
                    except ConnectionResetError:
                        pass
                self.assertTrue(content, "no answer")
                status = int(content.split(b" ", 2)[1])
                self.assertIn(status, statuses, content[:300])
                self.check_error(status, content.partition(b"\r\n\r\n")[2], request)

    def test_random_requests(self):
        rng = random.Random(SEED)
        counts = {}
        for number in range(COUNT):
            request = random_request(rng)
            for status, body in answers_to(self.server, request):
                counts[status] = counts.get(status, 0) + 1
                if status in (100, 200):  # a change that left it well-formed
                    continue
                self.check_error(status, body, request)
            if number % 500 == 0:
                self.assert_alive()
        print(f"{COUNT} requests with seed {SEED}: answers by status {counts}")
        self.assertGreater(counts.get(400, 0), COUNT // 4)
        self.assert_alive()

    def assert_alive(self):
        self.assertIsNone(self.server.process.poll())
        start = time.monotonic()
        self.assertEqual(self.server.request("GET", "/health/ready")[0], 200)
        self.assertLess(time.monotonic() - start, 5)


def status_complete(content):
    """Whether the whole of an answer with a Content-Length is there."""
    head, separator, rest = content.partition(b"\r\n\r\n")
    lengths = [int(line.split(b":")[1]) for line in head.split(b"\r\n")
               if line.lower().startswith(b"content-length:")]
    return bool(separator) and len(rest) >= (lengths[0] if lengths else 0)


if __name__ == "__main__":
    kvasir_server.main()
