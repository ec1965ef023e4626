"""Keys: who may do what, each tenant's own cache, groups that share, limits, secrets that stay secret."""
import concurrent.futures
import tempfile
import unittest

import kvasir_server
from kvasir_server import ADMIN_KEY, SYSTEM, Server

KEYS = """
[[key]]
name = "alice"
key = "alice-secret-1"

[[key]]
name = "bob"
key = "bob-secret-22"
group = "team"

[[key]]
name = "carol"
key = "carol-secret-3"
group = "team"

[[key]]
name = "dave"
key = "dave-secret-44"
requests_per_minute = 3
concurrent_requests = 1
"""
LONG = [SYSTEM, {"role": "user", "content": "Explain " + "the water cycle " * 30}]


class Tenants(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with tempfile.NamedTemporaryFile("w", suffix=".toml", delete=False) as file:
            file.write(KEYS)
        cls.server = Server("--api-keys", file.name)
        cls.server.__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__(None, None, None)

    def cached(self, key):
        client = self.server.client(api_key=key)
        reply = client.chat.completions.create(model="", messages=LONG, max_tokens=2, temperature=0)
        client.close()
        return reply.usage.prompt_tokens_details.cached_tokens

    def test_every_kind_of_route_with_every_kind_of_key(self):
        body = {"messages": LONG, "max_tokens": 1}
        routes = [("GET", "/health/live", None), ("GET", "/version", None),
                  ("GET", "/openapi.json", None), ("GET", "/v1/models", None),
                  ("GET", "/metrics", None), ("POST", "/tokenize", {"content": "x"}),
                  ("POST", "/v1/chat/completions", body), ("GET", "/v1/kv/stats", None)]
        expected = {None: [200, 200, 200, 401, 401, 401, 401, 401],
                    "wrong-secret": [200, 200, 200, 401, 401, 401, 401, 401],
                    "alice-secret-1": [200, 200, 200, 200, 200, 200, 200, 403],
                    ADMIN_KEY: [200] * 8}
        for key, statuses in expected.items():
            for headers in ({"Authorization": f"Bearer {key}"}, {"x-api-key": key}):
                sent = headers if key else {}
                got = [self.server.request(*route, headers=sent)[0] for route in routes]
                self.assertEqual(got, statuses, key)

    def test_the_openai_client(self):
        import openai
        with self.assertRaises(openai.AuthenticationError) as caught:
            self.server.client(api_key="wrong-secret").models.list()
        self.assertEqual(caught.exception.code, "invalid_api_key")

    def test_tenants_share_nothing_unless_they_say_so(self):
        self.server.admin("DELETE", "/v1/kv/prefixes")
        self.assertEqual(self.cached("alice-secret-1"), 0)
        self.assertGreater(self.cached("alice-secret-1"), 0)
        self.assertEqual(self.cached("bob-secret-22"), 0)
        self.assertGreater(self.cached("carol-secret-3"), 0)

    def test_limits(self):
        dave = {"Authorization": "Bearer dave-secret-44"}
        body = {"messages": LONG, "max_tokens": 40, "ignore_eos": True}
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda _: self.server.request(
                "POST", "/v1/chat/completions", body, dave), range(4)))
        self.assertIn(200, [status for status, _, _ in answers])
        # By now the minute's three requests are either used or were refused for coming together.
        for _ in range(3):
            answers.append(self.server.request("POST", "/v1/chat/completions",
                                               {**body, "max_tokens": 1}, dave))
        statuses = [status for status, _, _ in answers]
        self.assertEqual(set(statuses), {200, 429})
        self.assertLessEqual(statuses.count(200), 3)
        for status, headers, content in answers:
            self.assertEqual(headers["x-ratelimit-limit-requests"], "3")
            if status == 429:
                self.assertGreaterEqual(int(headers["Retry-After"]), 1)
                self.assertIn(b"rate_limit_exceeded", content)

    def test_secrets_and_prompts_are_not_logged(self):
        self.cached("alice-secret-1")
        self.server.request("GET", "/v1/models?secret=x%0aforged", headers={"x-api-key": "wrong-one"})
        self.server.request("GET", "/none%0a2026-01-01%20forged", headers={"x-api-key": "wrong-one"})
        self.server.wait_for_line("forged")
        log = "\n".join(self.server.lines)
        for secret in ("alice-secret", "bob-secret", ADMIN_KEY, "wrong-one", "water cycle"):
            self.assertNotIn(secret, log)
        self.assertFalse([line for line in self.server.lines if line.startswith("2026-01-01")])
        metrics = self.server.request("GET", "/metrics", headers={"x-api-key": "alice-secret-1"})[2]
        self.assertNotIn(b"secret", metrics)


if __name__ == "__main__":
    kvasir_server.main()
