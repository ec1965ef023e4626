"""Every row of the error table that a client can cause: status, type, code and param; what the openai
client makes of it; and that it tries again where it should."""
import http.server
import json
import threading
import unittest

import kvasir_server
from kvasir_server import CAPITAL, Server

CHAT = "/v1/chat/completions"
USER = [{"role": "user", "content": "Hi"}]


def chat(**members):
    return {"messages": USER, "max_tokens": 1, **members}


# What is sent to CHAT, and the code and param that come back with 400.
REFUSED = [
    ("{", "invalid_json", None),
    ("[]", "invalid_json", None),
    ("", "invalid_json", None),
    (b'{"messages": "\xff\xfe"}', "invalid_json", None),
    ('{"a": 1, "a": 2}', "invalid_json", None),
    ('{"a": ' + "[" * 100000 + "]" * 100000 + "}", "invalid_json", None),
    ('{"temperature": NaN}', "invalid_json", None),
    ('{"temperature": 1e999}', "invalid_json", None),
    ('{"max_tokens": Infinity}', "invalid_json", None),
    ("{" + ",".join(f'"m{i}": 1' for i in range(3000)) + "}", "invalid_json", None),
    ({}, "missing_required_parameter", "messages"),
    ({"messages": None}, "missing_required_parameter", "messages"),
    ({"messages": []}, "invalid_value", "messages"),
    ({"messages": "Hi"}, "invalid_value", "messages"),
    ({"messages": [1]}, "invalid_value", "messages[0]"),
    ({"messages": [{"content": "Hi"}]}, "missing_required_parameter", "messages[0].role"),
    ({"messages": [{"role": "user"}]}, "missing_required_parameter", "messages[0].content"),
    ({"messages": [*USER, {"role": "king", "content": ""}]}, "invalid_value", "messages[1].role"),
    ({"messages": [{"role": "user", "content": 5}]}, "invalid_value", "messages[0].content"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": ""}}]}]},
     "unsupported_parameter", "messages[0].content[0].type"),
    ({"messages": [{"role": "user", "content": [{"type": "text"}]}]},
     "missing_required_parameter", "messages[0].content[0].text"),
    (chat(temperature=-1), "invalid_value", "temperature"),
    (chat(temperature=2.1), "invalid_value", "temperature"),
    (chat(temperature="hot"), "invalid_value", "temperature"),
    (chat(temperature=True), "invalid_value", "temperature"),
    (chat(top_p=1.5), "invalid_value", "top_p"),
    (chat(top_k=-2), "invalid_value", "top_k"),
    (chat(max_tokens=0), "invalid_value", "max_tokens"),
    (chat(max_tokens=-1), "invalid_value", "max_tokens"),
    (chat(max_tokens=1.5), "invalid_value", "max_tokens"),
    (chat(max_tokens=2 ** 70), "invalid_value", "max_tokens"),
    (chat(n=0), "invalid_value", "n"),
    (chat(n=100000), "invalid_value", "n"),
    (chat(seed=2 ** 64), "invalid_value", "seed"),
    (chat(stop=["x"] * 100), "invalid_value", "stop"),
    (chat(stop=[""]), "invalid_value", "stop[0]"),
    (chat(stop=[1]), "invalid_value", "stop[0]"),
    (chat(stop={}), "invalid_value", "stop"),
    (chat(logit_bias={"x": 1}), "invalid_value", "logit_bias"),
    (chat(logit_bias={"999999999": 1}), "invalid_value", "logit_bias"),
    (chat(logit_bias={"5": 101}), "invalid_value", "logit_bias.5"),
    (chat(logit_bias=[1]), "invalid_value", "logit_bias"),
    (chat(top_logprobs=3), "invalid_value", "top_logprobs"),
    (chat(logprobs=True, top_logprobs=21), "invalid_value", "top_logprobs"),
    (chat(logprobs=5), "invalid_value", "logprobs"),
    (chat(stream="yes"), "invalid_value", "stream"),
    (chat(stream_options={"include_usage": True}), "invalid_value", "stream_options"),
    (chat(stream=True, stream_options={"include_usage": 1}), "invalid_value",
     "stream_options.include_usage"),
    (chat(min_tokens=5), "invalid_value", "min_tokens"),
    (chat(timeout_ms=0), "invalid_value", "timeout_ms"),
    (chat(stop_token_ids=[-1]), "invalid_value", "stop_token_ids[0]"),
    (chat(model=5), "invalid_value", "model"),
    (chat(prompt_cache_options={"mode": "loud"}), "invalid_value", "prompt_cache_options.mode"),
    (chat(tools=[{"type": "function"}]), "unsupported_parameter", "tools"),
    (chat(response_format={"type": "json_object"}), "unsupported_parameter", "response_format"),
    (chat(best_of=3), "unsupported_parameter", "best_of"),
    (chat(modalities=["audio"]), "unsupported_parameter", "modalities"),
    (chat(audio={"voice": "x"}), "unsupported_parameter", "audio"),
    (chat(grammar="root ::= x"), "unsupported_parameter", "grammar"),
    (chat(max_tokens=100000), "context_length_exceeded", "messages"),
    ({"messages": [{"role": "user", "content": "word " * 5000}]}, "context_length_exceeded",
     "messages"),
]


class Errors(kvasir_server.ServerTest):
    def failed(self, answer, status, code):
        got, headers, content = answer
        self.assertEqual(got, status, content[:300])
        self.assertEqual(headers["Content-Type"], "application/json")
        error = json.loads(content)["error"]
        self.assertEqual(error["code"], code, error)
        for member in ("message", "type", "param", "code"):
            self.assertIn(member, error)
        self.assertEqual(headers["X-Request-Id"], error["request_id"])
        return error

    def test_bad_requests(self):
        for body, code, param in REFUSED:
            with self.subTest(body=str(body)[:80]):
                error = self.failed(self.server.request("POST", CHAT, body), 400, code)
                self.assertEqual(error["type"], "invalid_request_error")
                self.assertEqual(error["param"], param, error)

    def test_bad_prompts(self):
        for body, code, param in [
                ({}, "missing_required_parameter", "prompt"),
                ({"prompt": 5}, "invalid_value", "prompt"),
                ({"prompt": []}, "invalid_value", "prompt"),
                ({"prompt": [[]]}, "invalid_value", "prompt[0]"),
                ({"prompt": [1, -1]}, "invalid_value", "prompt[1]"),
                ({"prompt": [1, 10 ** 12]}, "invalid_value", "prompt[1]"),
                ({"prompt": ["a", 5]}, "invalid_value", "prompt[1]"),
                ({"prompt": ["a"] * 100, "n": 100}, "invalid_value", "n"),
                ({"prompt": "x", "suffix": "y"}, "unsupported_parameter", "suffix"),
                ({"prompt": "x", "logprobs": 100}, "invalid_value", "logprobs"),
                ({"prompt": ""}, "invalid_value", "prompt")]:
            with self.subTest(body=str(body)[:80]):
                error = self.failed(self.server.request("POST", "/v1/completions", body), 400, code)
                self.assertEqual(error["param"], param, error)

    def test_context_length_tells_the_numbers(self):
        error = self.failed(self.server.request("POST", CHAT, chat(max_tokens=100000)), 400,
                            "context_length_exceeded")
        self.assertEqual(error["n_ctx"], 4096)
        self.assertGreater(error["n_prompt_tokens"], 0)
        self.assertIn("This model's maximum context length is 4096 tokens. However,",
                      error["message"])

    def test_paths_methods_and_media_types(self):
        self.failed(self.server.request("GET", "/v2/none"), 404, "not_found")
        answer = self.server.request("GET", CHAT)
        self.failed(answer, 405, "method_not_allowed")
        self.assertEqual(answer[1]["Allow"], "POST")
        self.failed(self.server.request("POST", CHAT, "a=b", {"Content-Type": "text/plain"}), 415,
                    "unsupported_media_type")
        self.failed(self.server.request("POST", CHAT, chat(model="gpt-5")), 404, "model_not_found")
        self.failed(self.server.request("GET", "/v1/models/org/none"), 404, "model_not_found")

    def test_sizes(self):
        self.failed(self.server.request("POST", CHAT, b" " * (9 << 20)), 413, "request_too_large")
        self.failed(self.server.request("GET", "/version", headers={"X-Long": "x" * 20000}), 431,
                    "headers_too_large")

    def test_pages_of_other_origins_and_names(self):
        self.failed(self.server.request("GET", "/v1/models", headers={"Host": "evil.example"}), 403,
                    "permission_denied")
        self.failed(self.server.request("POST", CHAT, chat(), {"Origin": "https://evil.example"}),
                    403, "permission_denied")

    def test_the_openai_client_knows_them(self):
        import openai
        create = self.client.chat.completions.create
        with self.assertRaises(openai.BadRequestError) as caught:
            create(model=self.model, messages=CAPITAL, temperature=9)
        self.assertEqual(caught.exception.param, "temperature")
        self.assertEqual(caught.exception.code, "invalid_value")
        with self.assertRaises(openai.NotFoundError):
            create(model="none", messages=CAPITAL)
        with self.assertRaises(openai.NotFoundError):
            self.client.models.retrieve("none")

    def test_unknown_members_are_ignored_with_one_warning(self):
        status, _, _ = self.server.request("POST", CHAT, chat(colour="blue"))
        self.assertEqual(status, 200)
        self.assertIn("colour", self.server.wait_for_line(r"ignored_members .*colour"))


class Strict(unittest.TestCase):
    def test_unknown_members_are_refused(self):
        with Server("--strict") as server:
            status, reply = server.json("POST", CHAT, chat(colour="blue"))
            self.assertEqual((status, reply["error"]["code"], reply["error"]["param"]),
                             (400, "unknown_parameter", "colour"))
            self.assertEqual(server.json("POST", CHAT, chat(user="me"))[0], 200)


class Retries(unittest.TestCase):
    """Against a server of ours behind one that is overloaded twice: the answer comes in the end."""

    def test_overload_is_tried_again(self):
        with Server() as server:
            attempts = []

            class Front(http.server.BaseHTTPRequestHandler):
                def do_POST(self):
                    body = self.rfile.read(int(self.headers["Content-Length"]))
                    attempts.append(self.path)
                    if len(attempts) <= 2:
                        self.send_response(503)
                        self.send_header("Retry-After", "0.1")
                        self.send_header("Content-Length", "0")
                        self.end_headers()
                        return
                    status, _, content = server.request("POST", self.path, body)
                    self.send_response(status)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)

                def log_message(self, *arguments):
                    pass

            front = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Front)
            threading.Thread(target=front.serve_forever, daemon=True).start()
            import openai
            client = openai.OpenAI(base_url=f"http://127.0.0.1:{front.server_port}/v1",
                                   api_key="any", max_retries=3)
            reply = client.chat.completions.create(model="", messages=USER, max_tokens=2)
            self.assertEqual(len(attempts), 3)
            self.assertEqual(reply.usage.completion_tokens, 2)
            # A mistake is not tried again.
            with self.assertRaises(openai.BadRequestError):
                client.chat.completions.create(model="", messages=USER, temperature=9)
            self.assertEqual(len(attempts), 4)
            client.close()
            front.shutdown()
            front.server_close()


if __name__ == "__main__":
    kvasir_server.main()
