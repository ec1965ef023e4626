"""The prefix cache over HTTP: cached tokens are told, and what an admin can see and do."""
import kvasir_server
from kvasir_server import SYSTEM

LONG = [SYSTEM, {"role": "user", "content": "Summarise: " + "The quick brown fox jumps. " * 40}]


class Cache(kvasir_server.ServerTest):
    def ask(self, messages=LONG, **options):
        return self.client.chat.completions.create(
            model=self.model, messages=messages, temperature=0, max_tokens=8, **options)

    def setUp(self):
        self.server.admin("DELETE", "/v1/kv/prefixes")

    def test_cached_tokens_are_told(self):
        first, second = self.ask(), self.ask()
        prompt_tokens = first.usage.prompt_tokens
        self.assertEqual(first.usage.prompt_tokens_details.cached_tokens, 0)
        cached = second.usage.prompt_tokens_details.cached_tokens
        self.assertEqual(cached % 32, 0)
        self.assertGreaterEqual(cached, (prompt_tokens - 1) // 32 * 32)
        self.assertEqual(second.choices[0].message.content, first.choices[0].message.content)
        # A conversation that goes on finds what the answer left.
        turn = [*LONG, {"role": "assistant", "content": first.choices[0].message.content},
                {"role": "user", "content": "Shorter."}]
        third = self.ask(turn)
        self.assertGreaterEqual(third.usage.prompt_tokens_details.cached_tokens, cached)

    def test_salt_and_switches(self):
        self.ask()
        cached = lambda **body: self.ask(extra_body=body).usage.prompt_tokens_details.cached_tokens
        self.assertEqual(cached(cache_salt="mine"), 0)
        self.assertGreater(cached(cache_salt="mine"), 0)
        self.assertEqual(cached(cache={"read": False}), 0)
        self.server.admin("DELETE", "/v1/kv/prefixes")
        self.assertEqual(cached(cache={"write": False}), 0)
        self.assertEqual(cached(), 0)
        self.assertGreater(cached(prompt_cache_key="anything"), 0)

    def test_lookup_pin_and_drop(self):
        status, reply = self.server.admin("POST", "/v1/kv/lookup", {"messages": LONG})
        self.assertEqual((status, reply["cached_tokens"]), (200, 0))
        self.assertEqual(self.server.admin("POST", "/v1/kv/pins", {"messages": LONG})[0], 404)
        self.ask()
        _, found = self.server.admin("POST", "/v1/kv/lookup", {"messages": LONG})
        self.assertGreater(found["cached_tokens"], 0)
        self.assertFalse(found["pinned"])
        status, pin = self.server.admin("POST", "/v1/kv/pins", {"messages": LONG})
        self.assertEqual(status, 200)
        self.assertTrue(pin["pinned"])
        _, stats = self.server.admin("GET", "/v1/kv/stats")
        self.assertEqual(stats["tiers"][0]["pinned_block_count"], pin["token_count"] // 32)
        _, listed = self.server.admin("GET", "/v1/kv/prefixes?limit=5&tokens=16")
        self.assertIn("helpful assistant", listed["data"][0]["text"])
        self.assertNotIn("text", self.server.admin("GET", "/v1/kv/prefixes")[1]["data"][0])
        self.assertEqual(self.server.admin("DELETE", "/v1/kv/pins/" + pin["id"])[0], 200)
        self.assertEqual(self.server.admin("DELETE", "/v1/kv/pins/" + pin["id"])[0], 404)
        status, dropped = self.server.admin("DELETE", "/v1/kv/prefixes/" + pin["id"])
        self.assertEqual(status, 200)
        self.assertGreater(dropped["dropped_block_count"], 0)
        self.assertEqual(self.server.admin("DELETE", "/v1/kv/prefixes/" + pin["id"])[0], 404)

    def test_identical_requests_at_once_share_the_reading(self):
        before = self.server.metrics()["kvasir_prompt_tokens_computed_total"]
        reply = self.client.chat.completions.create(
            model=self.model, messages=LONG, temperature=1, max_tokens=4, n=6)
        computed = self.server.metrics()["kvasir_prompt_tokens_computed_total"] - before
        self.assertLess(computed, 2 * reply.usage.prompt_tokens)

    def test_admin_only(self):
        self.assertEqual(self.server.json("GET", "/v1/kv/stats")[0], 401)
        self.assertEqual(self.server.json("GET", "/v1/kv/stats", headers={"x-api-key": "no"})[0], 401)


if __name__ == "__main__":
    kvasir_server.main()
