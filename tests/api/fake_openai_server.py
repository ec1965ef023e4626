"""A tiny server of OpenAI's API for tests of clients: fixed words, misbehaviour as it is told."""
import http.server
import json
import threading
import time

WORDS = ["one", " two", " three", " vier", " fünf"]


class FakeServer:
    """Serves on a free port inside a `with` block.

    `behaviour` is one of: plain, crumbs (a byte a chunk), lump (the whole reply in one chunk),
    comments, no_usage, no_done, close_delimited (no length: the connection's end is the reply's),
    busy (503), every_third_busy, disconnect (in mid-stream), error_event, garbage (events that are
    no JSON), html, silent (never answers), no_models (404 for the list), stale (closes kept
    connections without a word).
    """

    def __init__(self, behaviour, tokenize=True):
        self.behaviour = behaviour
        self.tokenize = tokenize
        self.bodies = []  # of generation requests
        self.generations = 0
        self.stopping = threading.Event()

    def __enter__(self):
        fake = self

        class Handler(_Handler):
            server_state = fake

        self.http = _QuietServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.http.shutdown()
        self.http.server_close()


class _QuietServer(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """Clients that leave in the middle are what is tested."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_state = None

    def log_message(self, *_):
        pass

    def handle_one_request(self):
        if self.server_state.behaviour == "stale" and getattr(self, "answered", 0):
            # The client believes that this connection will take another request.
            self.close_connection = True
            return
        super().handle_one_request()
        self.answered = 1

    def reply(self, status, body, content_type="application/json", headers=()):
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        if self.server_state.behaviour == "no_models":
            return self.reply(404, "<html>not here</html>", "text/html")
        return self.reply(200, {"object": "list", "data": [{"id": "fake-model"}]})

    def do_POST(self):
        fake = self.server_state
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/tokenize":
            if not fake.tokenize or "prompt" not in body:  # as vLLM: no `content`
                return self.reply(404, {"detail": "Not Found"})
            return self.reply(200, {"tokens": list(range(len(body["prompt"].split())))})
        fake.bodies.append(body)
        fake.generations += 1
        behaviour = fake.behaviour
        if behaviour == "silent":
            fake.stopping.wait(60)
            self.close_connection = True
            return None
        if behaviour == "busy" or behaviour == "every_third_busy" and fake.generations % 3 == 0:
            return self.reply(503, {"error": {"message": "the queue is full"}},
                              headers=[("Retry-After", "2")])
        if behaviour == "html":
            return self.reply(200, "<html>welcome</html>", "text/html")
        return self.stream(behaviour, body)

    def stream(self, behaviour, body):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        if behaviour == "close_delimited":
            self.send_header("Connection", "close")
            self.close_connection = True
        else:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        events = [f"data: {json.dumps(event, ensure_ascii=False)}\n\n".encode()
                  for event in self.events(behaviour, body)]
        if behaviour == "disconnect":
            for event in events[:3]:
                self.send(behaviour, event)
            self.wfile.flush()
            self.close_connection = True
            return
        if behaviour == "garbage":
            events.insert(2, b"data: {oops\n\n")
        if behaviour != "no_done":
            events.append(b"data: [DONE]\n\n")
        if behaviour == "comments":
            events = [part for event in events for part in (b": keep-alive\r\n\r\n", event)]
        if behaviour == "lump":
            events = [b"".join(events)]
        for event in events:
            self.send(behaviour, event)
            time.sleep(0.002)
        if behaviour != "close_delimited":
            self.wfile.write(b"0\r\n\r\n")

    def send(self, behaviour, event):
        if behaviour == "close_delimited":
            self.wfile.write(event)
            return
        pieces = [event[i:i + 1] for i in range(len(event))] if behaviour == "crumbs" else [event]
        for piece in pieces:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))

    def events(self, behaviour, body):
        chat = "messages" in body
        if chat:
            yield {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}
        for i, word in enumerate(WORDS):
            if behaviour == "error_event" and i == 2:
                yield {"error": {"message": "the model fell over", "code": "internal_error"}}
                return
            choice = {"delta": {"content": word}} if chat else {"text": word}
            yield {"choices": [{"index": 0, "finish_reason": None, **choice}]}
        yield {"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]}
        if behaviour != "no_usage":
            yield {"choices": [], "usage": {"prompt_tokens": 20, "completion_tokens": len(WORDS),
                                            "prompt_tokens_details": {"cached_tokens": 5}}}
