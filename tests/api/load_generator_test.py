"""`kvasir bench serve`: what it measures of our server and of an odd one, and what it refuses."""
import json
import os
import signal
import socket
import subprocess
import tempfile
import time
import unittest
import xml.etree.ElementTree

import kvasir_server
from fake_openai_server import FakeServer, WORDS
from kvasir_server import MODEL, Server

EXIT_OK, EXIT_FAILURE, EXIT_BAD_INPUT, EXIT_INTERRUPTED = 0, 1, 2, 130


def run(*flags, stdin="", seconds=120):
    """(exit code, standard output, standard error) of kvasir bench serve."""
    result = subprocess.run(
        [kvasir_server.program(), "bench", "serve", *map(str, flags)], text=True, input=stdin,
        capture_output=True, timeout=seconds,
        env={k: v for k, v in os.environ.items() if k != "KVASIR_API_KEY"})
    return result.returncode, result.stdout, result.stderr


class LoadGeneratorTest(unittest.TestCase):
    def measure(self, *flags, code=EXIT_OK, stdin=""):
        """The figures as JSON."""
        found, output, errors = run("--json", "-", *flags, stdin=stdin)
        self.assertEqual(found, code, errors)
        return json.loads(output)

    def refusal(self, *flags, code=EXIT_BAD_INPUT):
        found, output, errors = run(*flags)
        self.assertEqual(found, code, errors)
        lines = errors.splitlines()
        self.assertTrue(lines[-1].startswith("kvasir: "), errors)
        self.assertFalse(lines[-1].endswith("."), errors)
        return lines[-1][len("kvasir: "):]


class OurServer(LoadGeneratorTest):
    @classmethod
    def setUpClass(cls):
        cls.server = Server("--sequences", "8")
        cls.server.__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__(None, None, None)

    def url(self):
        return ["--url", self.server.url()]

    def test_all_at_once(self):
        before = self.server.metrics()
        figures = self.measure(*self.url(), "--requests", 6, "--input", 40, "--output", 10,
                               "--rounds", 2, "--endpoint", "completions", "--name", "ours",
                               "--slo-ttft-ms", 100000)
        self.assertTrue(figures["exact_lengths"])
        (server,) = figures["servers"]
        self.assertEqual(server["name"], "ours")
        self.assertEqual(len(server["rounds"]), 2)
        everything = server["all"]
        self.assertEqual(everything["answered"], 12)
        self.assertEqual(everything["errors"], {})
        self.assertEqual(everything["prompt_tokens"], 12 * 40)
        self.assertEqual(everything["output_tokens"], 12 * 10)
        self.assertEqual(everything["cached_tokens"], 0)
        self.assertEqual(everything["within_goals"], 12)
        self.assertEqual(everything["ttft_ms"]["count"], 12)
        # A token that completes no character brings no text.
        self.assertGreaterEqual(everything["itl_ms"]["count"], 12 * 7)
        self.assertGreaterEqual(everything["e2e_ms"]["min"], everything["ttft_ms"]["min"])
        # The server saw the same, and one request to warm up.
        name = 'kvasir_requests_total{'
        counted = sum(v - before.get(k, 0) for k, v in self.server.metrics().items()
                      if k.startswith(name))
        self.assertIn(counted, (0, 13))

    def test_shared_prefixes_are_cached_within_a_round(self):
        share = []
        for prefix in ([], ["--shared-prefix", 200]):
            figures = self.measure(*self.url(), "--requests", 5, "--concurrency", 1, "--input", 20,
                                   "--output", 4, *prefix)
            share.append(figures["servers"][0]["all"]["cached_share"])
        # What all chats have in common is shorter than a block; four of five find the prefix.
        self.assertLess(share[0], 0.2)
        self.assertGreater(share[1], 0.5)

    def test_a_warm_prefix_is_there_from_the_first_request(self):
        figures = self.measure(*self.url(), "--requests", 1, "--shared-prefix", 200,
                               "--warm-prefix", "--input", 20, "--output", 4)
        self.assertGreater(figures["servers"][0]["all"]["cached_share"], 0.6)

    def test_chats_send_the_real_answers(self):
        figures = self.measure(*self.url(), "--users", 2, "--turns", 3, "--input", 30,
                               "--output", 12)
        everything = figures["servers"][0]["all"]
        self.assertEqual(everything["answered"], 6)
        # The third turn has three messages and two answers in its prompt, two thirds of it known.
        self.assertGreater(everything["prompt_tokens"], 2 * (30 + 72 + 114))
        self.assertGreater(everything["cached_share"], 0.3)

    def test_open_loop(self):
        figures = self.measure(*self.url(), "--rate", 20, "--requests", 10, "--input", 10,
                               "--output", 2, "--seed", 3)
        everything = figures["servers"][0]["all"]
        self.assertEqual(everything["answered"], 10)
        self.assertGreater(everything["duration_s"], 0.1)
        self.assertEqual(figures["workload"]["seed"], 3)

    def test_a_prompt_beside_an_answer(self):
        figures = self.measure(*self.url(), "--beside", 300, "--input", 10, "--output", 100)
        everything = figures["servers"][0]["all"]
        self.assertEqual(everything["answered"], 1)
        self.assertGreater(everything["itl_beside_ms"]["count"], 0)
        self.assertGreater(everything["itl_alone_ms"]["count"], 30)

    def test_a_trace(self):
        lines = [
            {"timestamp": 0, "input_length": 1500, "output_length": 50, "hash_ids": [1, 2, 3]},
            {"timestamp": 8000, "input_length": 1400, "output_length": 9, "hash_ids": [1, 2, 4]}]
        figures = self.measure(*self.url(), "--trace", "-", "--trace-speed", 20, "--trace-scale",
                               0.1, "--endpoint", "completions",
                               stdin="\n".join(map(json.dumps, lines)))
        everything = figures["servers"][0]["all"]
        self.assertEqual(everything["answered"], 2)
        self.assertEqual(everything["prompt_tokens"], 150 + 140)
        self.assertEqual(everything["output_tokens"], 5 + 1)
        self.assertGreaterEqual(everything["duration_s"], 0.4)
        self.assertEqual(everything["cached_tokens"], 96)  # 102 are shared, in blocks of 32

    def test_two_servers_in_turns(self):
        with FakeServer("plain") as fake, tempfile.TemporaryDirectory() as folder:
            json_path, svg_path = os.path.join(folder, "f.json"), os.path.join(folder, "f.svg")
            code, output, errors = run(*self.url(), "--name", "ours", "--compare", fake.url,
                                       "--compare-name", "<fake>", "--rounds", 2, "--requests", 3,
                                       "--input", 12, "--output", 4, "--json", json_path, "--svg",
                                       svg_path)
            self.assertEqual(code, EXIT_OK, errors)
            self.assertIn("ours / <fake>", output)
            self.assertIn("round 2, <fake>: 3 of 3 answered", errors)
            with open(json_path) as file:
                ratios = json.load(file)["ratios"]
            ratio = ratios["requests_per_s"]
            self.assertLessEqual(ratio["min"], ratio["median"])
            self.assertLessEqual(ratio["median"], ratio["max"])
            image = xml.etree.ElementTree.parse(svg_path).getroot()
            self.assertEqual(len(image.findall(".//{*}polyline")), 4)
            self.assertIn("<fake>", [text.text for text in image.findall(".//{*}text")])
            # Both got the same texts.
            self.assertEqual(len(fake.bodies), 1 + 2 * 3)

    def test_a_tokenizer_file_instead_of_the_server(self):
        with FakeServer("plain", tokenize=False) as fake:
            self.assertTrue(self.measure("--url", fake.url, "--tokenizer", MODEL)["exact_lengths"])
            code, output, errors = run("--url", fake.url)
            self.assertEqual(code, EXIT_OK)
            self.assertIn("no server has /tokenize", errors)
            self.assertIn("estimated", output)


class OddServers(LoadGeneratorTest):
    def behave(self, behaviour, *flags, code=EXIT_OK):
        with FakeServer(behaviour) as fake:
            figures = self.measure("--url", fake.url, "--requests", 6, "--input", 8, "--output", 5,
                                   "--warmup", 0, *flags, code=code)
            self.bodies = fake.bodies
            return figures["servers"][0]["all"]

    def test_streams_however_they_are_cut(self):
        for behaviour in ("plain", "crumbs", "lump", "comments", "no_done", "close_delimited",
                          "stale"):
            with self.subTest(behaviour):
                for endpoint in ("chat", "completions"):
                    everything = self.behave(behaviour, "--endpoint", endpoint)
                    self.assertEqual(everything["answered"], 6, everything)
                    self.assertEqual(everything["output_tokens"], 6 * len(WORDS))
                    self.assertEqual(everything["itl_ms"]["count"], 6 * (len(WORDS) - 1))
                    self.assertEqual(everything["cached_share"], 0.25)

    def test_kept_connections_that_are_gone_are_replaced(self):
        everything = self.behave("stale", "--concurrency", 1)
        self.assertEqual(everything["answered"], 6, everything)

    def test_missing_usage(self):
        everything = self.behave("no_usage")
        self.assertEqual(everything["answered"], 6)
        self.assertEqual(everything["output_tokens"], 6 * len(WORDS))
        self.assertEqual(everything["prompt_tokens"], 0)
        self.assertIsNone(everything["cached_tokens"])

    def test_errors_by_kind(self):
        for behaviour, kind in (("busy", "http_503"), ("disconnect", "disconnected"),
                                ("error_event", "error_event"), ("garbage", "bad_event"),
                                ("html", "not_a_stream")):
            with self.subTest(behaviour):
                everything = self.behave(behaviour, code=EXIT_FAILURE)
                self.assertEqual(everything["errors"], {kind: 6}, everything)
                self.assertEqual(everything["answered"], 0)

    def test_some_errors_do_not_hide_the_rest(self):
        everything = self.behave("every_third_busy")
        self.assertEqual(everything["errors"], {"http_503": 2})
        self.assertEqual(everything["answered"], 4)
        self.assertIn("Retry-After: 2", everything["first_error"])

    def test_a_silent_server_times_out(self):
        start = time.monotonic()
        everything = self.behave("silent", "--request-timeout", 1, code=EXIT_FAILURE)
        self.assertEqual(everything["errors"], {"timeout": 6})
        self.assertLess(time.monotonic() - start, 20)

    def test_what_is_sent(self):
        self.behave("plain", "--extra", '{"cache_prompt": true}')
        body = self.bodies[0]
        self.assertEqual(body["model"], "fake-model")
        self.assertEqual(body["max_tokens"], 5)
        self.assertEqual(body["stream_options"], {"include_usage": True})
        self.assertIs(body["ignore_eos"], True)
        self.assertIs(body["cache_prompt"], True)
        self.assertEqual(len(body["messages"][0]["content"].split()), 8)
        self.assertEqual(len({b["messages"][0]["content"] for b in self.bodies}), 6)

    def test_chats_carry_the_answers(self):
        with FakeServer("plain") as fake:
            self.measure("--url", fake.url, "--users", 1, "--turns", 2, "--warmup", 0,
                         "--respect-eos")
            self.assertNotIn("ignore_eos", fake.bodies[0])
            roles = [(m["role"], m["content"]) for m in fake.bodies[1]["messages"]]
            self.assertEqual([role for role, _ in roles], ["user", "assistant", "user"])
            self.assertEqual(roles[0][1], fake.bodies[0]["messages"][0]["content"])
            self.assertEqual(roles[1][1], "".join(WORDS))

    def test_ctrl_c_prints_what_there_is(self):
        with FakeServer("silent") as fake:
            process = subprocess.Popen(
                [kvasir_server.program(), "bench", "serve", "--url", fake.url, "--warmup", "0",
                 "--requests", "3"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            deadline = time.monotonic() + 30
            while fake.generations < 3 and time.monotonic() < deadline:
                time.sleep(0.02)
            process.send_signal(signal.SIGINT)
            output, errors = process.communicate(timeout=30)
            self.assertEqual(process.returncode, EXIT_INTERRUPTED, errors)
            self.assertIn("stopped early", output)
            self.assertIn("3 requests were cut off", output)

    def test_the_time_limit_ends_everything(self):
        with FakeServer("silent") as fake:
            code, output, errors = run("--url", fake.url, "--warmup", 0, "--time-limit", 1)
            self.assertEqual(code, EXIT_FAILURE)
            self.assertIn("stopped early", output)
            self.assertIn("the time limit of 1 s came before the last round's end", errors)


class Refusals(LoadGeneratorTest):
    def test_flags(self):
        self.assertEqual(self.refusal("--concurrency", 2, "--rate", 1),
                         "--concurrency and --rate do not go together")
        self.assertEqual(self.refusal("--requests", 0),
                         "--requests: '0' is not a whole number from 1 to 1000000")
        self.assertEqual(self.refusal("--request", 3),
                         "unknown flag --request for bench serve; did you mean --requests?")
        self.assertIn("is encrypted", self.refusal("--url", "https://127.0.0.1:1"))
        self.assertIn("/nonexistent", self.refusal("--json", "/nonexistent/x",
                                                   code=EXIT_FAILURE))

    def test_nobody_listens(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{free.getsockname()[1]}"
            self.assertEqual(self.refusal("--url", url, code=EXIT_FAILURE),
                             f"{url} does not answer: Connection refused")
        self.assertIn("the host has no address",
                      self.refusal("--url", "http://nowhere.invalid:80", code=EXIT_FAILURE))

    def test_somebody_else_answers(self):
        with FakeServer("no_models") as fake:
            self.assertEqual(
                self.refusal("--url", fake.url),
                f"{fake.url} is no server of OpenAI's API: GET /v1/models is answered with 404 and "
                "no list of models")
        with FakeServer("html") as fake:
            self.assertIn("does not answer a first request: not_a_stream",
                          self.refusal("--url", fake.url))

    def test_somebody_speaks_no_http(self):
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            process = subprocess.Popen([kvasir_server.program(), "bench", "serve", "--url", url],
                                       stderr=subprocess.PIPE, text=True)
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"220 mail.example ESMTP\r\n")
                _, errors = process.communicate(timeout=30)
            self.assertEqual(process.returncode, EXIT_FAILURE)
            self.assertIn("the reply is no HTTP", errors)

    def test_a_key_that_is_refused(self):
        with Server(environment={"KVASIR_API_KEY": "secret-of-the-test"}) as server:
            self.assertIn("refuses the key", self.refusal("--url", server.url()))
            figures = self.measure("--url", server.url(), "--api-key", "secret-of-the-test",
                                   "--requests", 1, "--input", 5, "--output", 2)
            self.assertEqual(figures["servers"][0]["all"]["answered"], 1)


if __name__ == "__main__":
    kvasir_server.main()
