"""The disk tier over HTTP: a prompt that was read once is found after a restart and after a kill, by a plain client;
what happens to the files never reaches an answer. KVASIR_TEST_KILLS: how often a server is killed under load."""
import concurrent.futures
import contextlib
import glob
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

import kvasir_server
from kvasir_server import SYSTEM, Server

KILLS = int(os.environ.get("KVASIR_TEST_KILLS", "10"))
SEED = int(os.environ.get("KVASIR_TEST_SEED", "1"))


def conversation(topic, length=40):
    return [SYSTEM, {"role": "user", "content": f"Summarise {topic}: " + f"The {topic} jumps over it. " * length}]


class KvDisk(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="kvasir_kv_disk_")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def serve(self, *flags, **options):
        return Server("--kv-disk", self.folder, "--kv-disk-bytes", "256M", *flags, **options)

    def ask(self, server, messages, **options):
        return server.client().chat.completions.create(
            model="", messages=messages, temperature=0, max_tokens=8, **options)

    def cached(self, reply):
        details = reply.usage.prompt_tokens_details
        return details.cached_tokens, details.model_extra["disk_tokens"]

    def wait_until_stored(self, server, seconds=30):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            metrics = server.metrics()
            if metrics['kvasir_tier_blocks{state="storing"}'] + metrics['kvasir_tier_blocks{state="waiting"}'] == 0:
                return
            time.sleep(0.02)
        self.fail("blocks are still being stored")

    def kill(self, server):
        """kill -9, and nothing of what __exit__ checks."""
        server.process.send_signal(signal.SIGKILL)
        server.process.wait(30)
        server.reader.join(5)
        server.process.stderr.close()

    def test_a_prompt_is_found_after_a_restart(self):
        messages = conversation("fox")
        with self.serve() as server:
            first = self.ask(server, messages)
            self.assertEqual(self.cached(first), (0, 0))
        with self.serve() as server:
            second = self.ask(server, messages)
            tokens, disk = self.cached(second)
            self.assertGreaterEqual(tokens, (first.usage.prompt_tokens - 1) // 32 * 32)
            self.assertEqual(tokens, disk)
            self.assertEqual(second.choices[0].message.content, first.choices[0].message.content)
            third = self.ask(server, messages)
            self.assertEqual(self.cached(third), (tokens, 0))
            # The conversation goes on: the answer was stored, too.
            turn = [*messages, {"role": "assistant", "content": first.choices[0].message.content},
                    {"role": "user", "content": "Shorter."}]
            self.assertGreaterEqual(self.cached(self.ask(server, turn))[0], tokens)
            metrics = server.metrics()
            self.assertEqual(metrics['kvasir_prompt_tokens_hit_total{tier="disk"}'], disk)
            self.assertEqual(metrics['kvasir_disk_state{state="ready"}'], 1)

    def test_other_weights_formats_and_tenants_find_nothing(self):
        messages = conversation("owl")
        with self.serve() as server:
            self.ask(server, messages, extra_body={"cache_salt": "alice"})
        with self.serve() as server:
            for salt in ("", "bob", "alic", "alice "):
                self.assertEqual(self.cached(self.ask(server, messages, extra_body={"cache_salt": salt})), (0, 0))
            self.assertGreater(self.cached(self.ask(server, messages, extra_body={"cache_salt": "alice"}))[1], 0)
        with self.serve("--kv", "int8") as server:
            self.assertEqual(self.cached(self.ask(server, messages, extra_body={"cache_salt": "alice"})), (0, 0))

    def test_a_tenants_records_can_be_deleted(self):
        messages = conversation("elk")
        with self.serve() as server:
            self.ask(server, messages, extra_body={"cache_salt": "alice"})
            self.ask(server, messages, extra_body={"cache_salt": "bob"})
            self.wait_until_stored(server)
            status, reply = server.admin("DELETE", "/v1/kv/prefixes?salt=/alice")
            self.assertEqual(status, 200)
            self.assertGreater(reply["erased_record_count"], 0)
        with self.serve() as server:
            self.assertEqual(self.cached(self.ask(server, messages, extra_body={"cache_salt": "alice"})), (0, 0))
            self.assertGreater(self.cached(self.ask(server, messages, extra_body={"cache_salt": "bob"}))[1], 0)

    def test_stats_lookup_warm_and_pin(self):
        messages = conversation("emu")
        with self.serve() as server:
            self.ask(server, messages)
        with self.serve() as server:
            tiers = server.admin("GET", "/v1/kv/stats")[1]["tiers"]
            self.assertEqual([tier["tier"] for tier in tiers], ["ram", "disk"])
            self.assertGreater(tiers[1]["block_count"], 0)
            _, found = server.admin("POST", "/v1/kv/lookup", {"messages": messages})
            self.assertEqual(found["cached_tokens"], 0)
            self.assertGreater(found["tokens_on_disk"], 0)
            status, warm = server.admin("POST", "/v1/kv/warm", {"messages": messages})
            self.assertEqual((status, warm["loading_tokens"]), (200, found["tokens_on_disk"]))
            deadline = time.monotonic() + 10
            while time.monotonic() < deadline and found["cached_tokens"] < warm["loading_tokens"]:
                _, found = server.admin("POST", "/v1/kv/lookup", {"messages": messages})
            self.assertEqual(found["cached_tokens"], warm["loading_tokens"])
            other = conversation("emu")
            other[1]["content"] = other[1]["content"].replace("jumps", "walks", 1)
            _, missed = server.admin("POST", "/v1/kv/lookup", {"messages": other})
            self.assertEqual(missed["miss"]["reason"], "token_differs")
            self.assertEqual(server.admin("POST", "/v1/kv/pins", {"messages": messages})[0], 200)
            self.assertGreater(server.admin("GET", "/v1/kv/stats")[1]["tiers"][1]["pinned_block_count"], 0)

    def test_the_directory_may_go_away(self):
        with self.serve() as server:
            answer = self.ask(server, conversation("cat"))
            shutil.rmtree(self.folder)
            for topic in ("cat", "dog", "pig"):
                self.ask(server, conversation(topic))
            again = self.ask(server, conversation("cat"))
            self.assertEqual(again.choices[0].message.content, answer.choices[0].message.content)

    def test_what_cannot_be_is_refused_at_start(self):
        blocker = os.path.join(self.folder, "file")
        with open(blocker, "w", encoding="utf-8"):
            pass
        for flags in (["--kv-disk", blocker], ["--kv-disk", self.folder, "--kv-disk-bytes", "1"],
                      ["--kv-disk", self.folder, "--no-prefix-cache"]):
            environment = {**os.environ, "KVASIR_MODEL": kvasir_server.MODEL}
            run = subprocess.run([kvasir_server.program(), "serve", "--port", "0", *flags], env=environment,
                                 capture_output=True, timeout=120, check=False)
            self.assertNotEqual(run.returncode, 0)
            self.assertEqual(len(run.stderr.decode().strip().splitlines()[-1:]), 1)
            self.assertIn("kvasir: ", run.stderr.decode())

    def test_kills_under_load(self):
        """After any kill the server starts, answers as it did without a cache, and finds what had been stored."""
        choose = random.Random(SEED)
        topics = [conversation(f"animal {i}", 12) for i in range(8)]
        with Server() as server:
            expected = [self.ask(server, topic).choices[0].message.content for topic in topics]
        found = 0
        for _ in range(KILLS):
            server = self.serve()
            server.__enter__()
            kill_at = time.monotonic() + choose.uniform(0.1, 1.5)

            def load(index, server=server):
                with contextlib.suppress(Exception):
                    reply = self.ask(server, topics[index])
                    return index, reply.choices[0].message.content, self.cached(reply)
                return None

            with concurrent.futures.ThreadPoolExecutor(3) as pool:
                futures = [pool.submit(load, choose.randrange(len(topics))) for _ in range(24)]
                while time.monotonic() < kill_at:
                    time.sleep(0.01)
                self.kill(server)
                for future in futures:
                    if future.result() is None:
                        continue
                    index, text, cached = future.result()
                    self.assertEqual(text, expected[index])
                    found += cached[1]
        with self.serve() as server:
            for index, topic in enumerate(topics):
                self.assertEqual(self.ask(server, topic).choices[0].message.content, expected[index])
            self.assertEqual(server.metrics()['kvasir_disk_reads_total{result="mismatch"}'], 0)
        self.assertGreater(found, 0)
        self.assertTrue(glob.glob(os.path.join(self.folder, "*")))


if __name__ == "__main__":
    kvasir_server.main()
