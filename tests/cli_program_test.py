"""Runs the program `kvasir` as people and scripts do: pipes, JSON, exit codes, a terminal.

    tests/cli_program_test.py PATH_OF_KVASIR

Tests that need the default model are skipped when it is not there.
"""
import hashlib
import json
import math
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import xml.dom.minidom

KVASIR = "kvasir"
CACHE = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
MODEL = os.environ.get("KVASIR_MODEL") or os.path.join(
    CACHE, "kvasir/models/SmolLM2-135M-Instruct.Q4_1.gguf")
needs_model = unittest.skipUnless(os.path.exists(MODEL), f"there is no model at {MODEL}")
QUESTION = "What is the capital of France?"


def run(*arguments, stdin=subprocess.DEVNULL, text=None, environment=None):
    """The finished process: returncode, stdout and stderr as text."""
    source = {"input": text.encode()} if text is not None else {"stdin": stdin}
    done = subprocess.run([KVASIR, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          env={**os.environ, **(environment or {})}, timeout=300, **source)
    done.stdout = done.stdout.decode()  # strict: what comes out is UTF-8
    done.stderr = done.stderr.decode()
    return done


class Cache(unittest.TestCase):
    """`kvasir cache` on a directory, with the record that tests/oracle/record_golden.py made."""

    def setUp(self):
        self.golden = os.path.join(os.path.dirname(os.path.abspath(__file__)), "oracle/record_golden.bin")
        self.directory = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.directory)
        self.key = hashlib.sha256(b"key").hexdigest()

    def cache(self, command, *arguments, code=0):
        done = run("cache", command, self.directory, *arguments)
        self.assertEqual(done.returncode, code, done.stderr)
        return done

    def test_a_record_and_its_life(self):
        self.assertIn("1 records imported", self.cache("import", self.golden).stdout)
        self.assertEqual(json.loads(self.cache("stat", "--json").stdout)["records"], 1)
        listed = json.loads(self.cache("ls", "--json").stdout)
        self.assertEqual([r["key"] for r in listed], [self.key])
        record = json.loads(self.cache("lookup", self.key[:8], "--json").stdout)
        self.assertEqual(record["tokens"], [3 * i - 1 for i in range(32)])
        self.assertEqual(record["parent"], hashlib.sha256(b"parent").hexdigest())
        self.cache("verify")
        self.cache("pin", self.key)
        self.assertTrue(json.loads(self.cache("ls", "--json").stdout)[0]["pinned"])
        self.cache("unpin", self.key[:12])
        with tempfile.TemporaryDirectory() as other:
            exported = os.path.join(other, "records")
            self.assertIn("1 records exported", self.cache("export", exported).stdout)
            self.assertEqual(os.path.getsize(exported), os.path.getsize(self.golden))
        self.cache("gc")
        self.assertIn("1 records removed", self.cache("rm", self.key).stdout)
        self.assertEqual(json.loads(self.cache("ls", "--json").stdout), [])

    def test_why_it_is_a_miss(self):
        self.cache("import", self.golden)
        tokens = ",".join(str(abs(3 * i - 1)) for i in range(32))
        done = self.cache("lookup", self.key, "--tokens", tokens, code=2)
        self.assertIn("the record is of token -1 at position 64, not 1", done.stderr)
        done = self.cache("lookup", self.key, "--tenant", "0" * 64, code=2)
        self.assertIn("the record is of another tenant", done.stderr)
        self.cache("lookup", "ffff", code=2)

    def test_damage_has_an_exit_code(self):
        self.cache("import", self.golden)
        segment = os.path.join(self.directory, "segment-00000001")
        with open(segment, "r+b") as file:
            file.seek(4096 + 4096 + 100)
            file.write(b"damage")
        self.assertIn("1 records are bad", self.cache("verify", code=2).stderr)
        self.cache("verify", "--repair")
        self.cache("verify")

    def test_refusals(self):
        missing = run("cache", "stat", "/no/such/directory")
        self.assertEqual(missing.returncode, 2, missing.stderr)
        self.assertIn("/no/such/directory", missing.stderr)
        self.assertIn("needs either a KEY or --tenant", self.cache("rm", code=2).stderr)
        self.assertIn("/etc/passwd at byte 0: ", self.cache("import", "/etc/passwd", code=2).stderr)


class Replay(unittest.TestCase):
    # Three requests: a prompt, its next turn, another prompt. The second finds two blocks.
    TRACE = "".join(json.dumps({"timestamp": i, "input_length": 512 * len(ids),
                                "output_length": 9, "hash_ids": ids}) + "\n"
                    for i, ids in enumerate([[1, 2], [1, 2, 3], [4]]))

    def test_prints_shares(self):
        with tempfile.TemporaryDirectory() as directory:
            chart = os.path.join(directory, "chart.svg")
            done = run("replay", "-", "--blocks", "1,100", "--policies", "lru,ours", "--json",
                       "--svg", chart, text=self.TRACE)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(xml.dom.minidom.parse(chart).documentElement.tagName, "svg")
        report = json.loads(done.stdout)
        self.assertEqual((report["requests"], report["blocks"], report["different_blocks"]),
                         (3, 6, 4))
        found = {(c["policy"], c["blocks"]): c["hit_blocks"] for c in report["caches"]}
        # With one place LRU has block 2 when 1 is asked for; ours keeps 1, which 2 follows.
        self.assertEqual(found, {("lru", 1): 0, ("lru", 100): 2, ("ours", 1): 1, ("ours", 100): 2})
        written = [t["written_blocks"] for t in report["tiers"] if t["ram_blocks"] == 100]
        self.assertEqual(written, [4, 4, 2, 4])  # the second touch writes 1 and 2 alone

    def test_prints_tables(self):
        done = run("replay", "-", "--blocks", "100", text=self.TRACE)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("| belady | 33.33 |", done.stdout)


class Refusals(unittest.TestCase):
    def refused(self, expected, *arguments, **options):
        done = run(*arguments, **options)
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertEqual(done.stdout, "")
        self.assertTrue(done.stderr.startswith("kvasir: "), done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        self.assertIn(expected, done.stderr)

    def test_flags(self):
        self.refused("did you mean chat?", "chta")
        self.refused("did you mean --threads?", "chat", "--thread", "1")
        self.refused("--threads: '0' is not a whole number from 1 to 1024", "info", "--threads", "0")
        self.refused("--tests: 'pp0' is no test", "bench", "--tests", "pp0")
        self.refused("--text", "perplexity")

    def test_traces(self):
        self.refused("-: line 2: hash_ids is not an array", "replay", "-", text=(
            '{"timestamp": 0, "input_length": 5, "output_length": 1, "hash_ids": [1]}\n'
            '{"timestamp": 0, "input_length": 5, "output_length": 1, "hash_ids": 1}\n'))
        self.refused("the trace has no requests", "replay", "-", text="")
        self.refused("none of fifo, lru", "replay", "-", "--policies", "lru,mru", text="")
        self.refused("--disk-blocks has 1 sizes, but --blocks has 2", "replay", "-", "--blocks",
                     "1,2", "--disk-blocks", "5", text="")

    def test_files(self):
        self.refused("'/no/such.gguf', which --model names", "info", "--model", "/no/such.gguf")
        self.refused("scripts/quickstart", "info",
                     environment={"KVASIR_MODEL": "", "XDG_CACHE_HOME": "/no/cache"})
        with tempfile.NamedTemporaryFile(suffix=".gguf") as file:
            file.write(b"GGUF\x03\x00\x00\x00" + b"\xff" * 16)
            file.flush()
            self.refused(file.name, "info", "--model", file.name)

    def test_quantize(self):
        self.refused("--type: there is none, allowed are q8_0, q4_0 and q4_K", "quantize", "a", "b")
        self.refused("'q3_K' is unknown", "quantize", "a", "b", "--type", "q3_K")
        self.refused("name a file with --calibration-text", "quantize", "a", "b", "--type", "q4_0",
                     "--awq")
        self.refused("of no use without --awq or --gptq", "quantize", "a", "b", "--type", "q4_0",
                     "--calibration-text", "text")
        with tempfile.NamedTemporaryFile(suffix=".gguf") as file:
            self.refused("exists already, --force replaces it", "quantize", "a", file.name,
                         "--type", "q4_0")

    @needs_model
    def test_quantize_what_is_quantised(self):
        with tempfile.TemporaryDirectory() as directory:
            out = os.path.join(directory, "out.gguf")
            self.refused("quantised already", "quantize", MODEL, out, "--type", "q8_0")
            done = run("quantize", MODEL, out, "--type", "q8_0", "--from-quantized", "--json")
            self.assertEqual(done.returncode, 0, done.stderr)
            report = json.loads(done.stdout)
            self.assertEqual(report["file_bytes"], os.path.getsize(out))
            self.assertEqual(set(report["types"]), {"F32", "Q8_0"})
            answer = run("chat", "--model", out, "-p", QUESTION, "--max-tokens", "24")
            self.assertIn("Paris", answer.stdout)

    def test_message(self):
        self.refused("the message is empty", "chat", "-p", "")

    @needs_model
    def test_prompt_beyond_the_context(self):
        done = run("chat", "--context", "64", "-p", "word " * 500)
        self.assertEqual(done.returncode, 2)
        self.assertRegex(done.stderr, r"^kvasir: .*5\d\d.*64.*\n$")

    @needs_model
    def test_context_beyond_the_model(self):
        self.refused("--context: 100000 tokens are more than this model's 8192", "chat",
                     "--context", "100000", "-p", QUESTION)

    @needs_model
    def test_memory(self):
        self.refused("memory", "chat", "-p", QUESTION, "--kv-bytes", "20T")
        self.refused("block_select_tokens is 100, it must be 0 or a multiple of 32", "chat", "-p",
                     QUESTION, "--block-select", "100")

    @needs_model
    def test_target_from_the_environment(self):
        self.refused("sse9", "info", environment={"KVASIR_TARGET": "sse9"})


class Help(unittest.TestCase):
    def test_help_and_version(self):
        done = run("--help")
        self.assertEqual(done.returncode, 0)
        self.assertIn("kvasir chat -p", done.stdout)
        self.assertRegex(run("--version").stdout, r"^kvasir \d+\.\d+\.\d+\n$")
        for command in ["chat", "generate", "info", "bench", "perplexity", "eval", "eval-select",
                        "kv-calibrate", "quantize", "tokenize", "attention"]:
            self.assertIn("Examples:", run(command, "--help").stdout)


@needs_model
class Answers(unittest.TestCase):
    def test_one_answer(self):
        done = run("chat", "-p", QUESTION, "--max-tokens", "24")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("Paris", done.stdout)
        self.assertTrue(done.stdout.endswith("\n"))
        self.assertEqual(done.stderr, "")
        self.assertEqual(run("chat", "-p", QUESTION, "--max-tokens", "24").stdout, done.stdout)

    def test_one_answer_with_exact_activations(self):
        done = run("chat", "-p", QUESTION, "--activations", "f32")
        self.assertEqual(done.stdout, "The capital of France is Paris.\n")

    def test_answers_do_not_depend_on_threads_and_chunks(self):
        answer = run("chat", "-p", QUESTION, "--max-tokens", "16").stdout
        self.assertEqual(answer, run("chat", "-p", QUESTION, "--max-tokens", "16", "--threads", "1",
                                     "--chunk", "7").stdout)

    def test_pipe(self):
        self.assertEqual(run("chat", "--activations", "f32", text=QUESTION + "\n").stdout,
                         "The capital of France is Paris.\n")
        whole = run("chat", "-p", "Repeat this word:\n\nbutterfly", "--max-tokens", "12").stdout
        piped = run("chat", "-p", "Repeat this word:", "--max-tokens", "12", text="butterfly\n").stdout
        self.assertEqual(piped, whole)

    def test_a_pipe_that_stays_silent_does_not_hang(self):
        silent, writer = os.pipe()
        done = run("chat", "-p", QUESTION, "--activations", "f32", stdin=silent)
        os.close(writer)
        os.close(silent)
        self.assertEqual(done.returncode, 0)
        self.assertIn("nothing arrived on standard input", done.stderr)
        self.assertIn("Paris", done.stdout)

    def test_stop_strings_are_not_shown(self):
        done = run("chat", "-p", QUESTION, "--activations", "f32", "--stop", " Paris")
        self.assertEqual(done.stdout, "The capital of France is\n")

    def test_a_reader_that_leaves(self):
        process = subprocess.Popen([KVASIR, "generate", "-p", "Once upon a time", "-n", "2000"],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        process.stdout.read(4)
        process.stdout.close()
        self.assertEqual(process.wait(timeout=60), 0)
        self.assertEqual(process.stderr.read(), b"")
        process.stderr.close()

    def test_interrupt_of_one_answer(self):
        process = subprocess.Popen([KVASIR, "chat", "-p", "Tell a very long story.", "-n", "4000"],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        process.stdout.read(4)
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        process.stdout.close()
        self.assertEqual(process.wait(timeout=60), 130)

    def test_generate_json(self):
        done = run("generate", "-p", "The capital of France is", "--max-tokens", "8", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        answer = json.loads(done.stdout)["answers"][0]
        self.assertIn("Paris", answer["text"])
        self.assertTrue(answer["text"].startswith(" "))
        self.assertEqual(answer["finish_reason"], "length")
        self.assertEqual(len(answer["tokens"]), 8)
        ids = run("generate", "-p", "The capital of France is", "--max-tokens", "8", "--tokens")
        self.assertEqual([int(i) for i in ids.stdout.split()], answer["tokens"])

    def test_generate_several(self):
        arguments = ["generate", "-p", "My name is", "-n", "8", "--temperature", "1", "--json"]
        several = json.loads(run(*arguments, "--count", "3", "--seed", "5").stdout)["answers"]
        self.assertEqual([answer["seed"] for answer in several], [5, 6, 7])
        alone = json.loads(run(*arguments, "--seed", "6").stdout)["answers"][0]
        self.assertEqual(alone["tokens"], several[1]["tokens"])


@needs_model
class Facts(unittest.TestCase):
    def test_info(self):
        info = json.loads(run("info", "--json").stdout)
        self.assertEqual(info["model"]["family"], "llama")
        self.assertEqual(info["model"]["layers"], 30)
        self.assertEqual(info["model"]["vocab_size"], 49152)
        self.assertEqual(info["weights"]["label"], "Q4_1")
        self.assertGreater(info["weights"]["bytes_in_memory"], 50e6)
        self.assertIn(info["cpu"]["target"], info["cpu"]["supported_targets"])
        self.assertTrue(info["cpu"]["numerics_class"])
        self.assertTrue(info["chat_template"])
        self.assertEqual(info["kv"], "bf16")
        self.assertTrue(info["memory"]["fits"])
        forced = json.loads(run("info", "--json", environment={"KVASIR_TARGET": "portable"}).stdout)
        self.assertEqual(forced["cpu"]["target"], "portable")
        self.assertIn("layers", run("info").stdout)

    def test_block_select(self):
        selecting = json.loads(run("info", "--json", "--block-select", "1024").stdout)
        self.assertEqual(selecting["block_select_tokens"], 1024)
        # The extremes of 64 dims in bf16, for each of 30 layers and 3 heads, and a stamp of 8 bytes.
        self.assertEqual(selecting["memory"]["summary_bytes"],
                         selecting["memory"]["kv_block_count"] * (30 * 3 * 2 * 64 * 2 + 8))
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
            file.write(" ".join(str(n) for n in range(200)))
            file.flush()
            arguments = ["eval-select", "--text", file.name, "--depths", "256", "--budgets",
                         "128,512", "--decode", "4", "--windows", "1", "--passkeys", "1"]
            rows = json.loads(run(*arguments, "--json").stdout)["rows"]
            self.assertEqual([row["budget_tokens"] for row in rows], [0, 128, 512])
            self.assertEqual(rows[2]["mean_kl"], 0)
            self.assertEqual(rows[2]["passkey_mean_nll"], rows[0]["passkey_mean_nll"])
            self.assertIn("pass keys", run(*arguments).stdout)

    def test_bench(self):
        done = run("bench", "--tests", "pp8,tg2", "--depth", "4", "--sequences", "2", "--prompt",
                   "3", "--repetitions", "2", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        report = json.loads(done.stdout)
        for key in ["machine", "cpu", "target", "numerics_class", "threads", "model"]:
            self.assertIn(key, report)
        self.assertEqual([row["test"] for row in report["rows"]], ["pp8", "tg2"])
        for row in report["rows"]:
            self.assertEqual((row["depth"], row["sequences"], row["prompt"], row["weights"],
                              row["kv"], row["repetitions"]), (4, 2, 3, "Q4_1", "bf16", 2))
            self.assertLessEqual(0, row["tokens_per_second_min"])
            self.assertLessEqual(row["tokens_per_second_min"], row["tokens_per_second_median"])
            self.assertLessEqual(row["tokens_per_second_median"], row["tokens_per_second_max"])
        self.assertIn("tg2", run("bench", "--tests", "tg2", "--repetitions", "1").stdout)

    def test_tokenize(self):
        text = "Hello, 世界! 12345\n"
        tokens = json.loads(run("tokenize", "--json", text=text).stdout)
        self.assertEqual(tokens["count"], len(tokens["ids"]))
        ids = " ".join(str(i) for i in tokens["ids"])
        self.assertEqual(run("tokenize", text=text).stdout, ids + "\n")
        self.assertEqual(run("tokenize", "--ids", ids).stdout, text + "\n")
        special = json.loads(run("tokenize", "-p", "<|im_start|>", "--json").stdout)
        self.assertEqual(special["pieces"], ["<|im_start|>"])
        plain = json.loads(run("tokenize", "-p", "<|im_start|>", "--json", "--no-special").stdout)
        self.assertGreater(plain["count"], 1)
        self.assertEqual(run("tokenize", "--ids", "1 99999999").returncode, 2)

    def test_perplexity(self):
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
            file.write("The quick brown fox jumps over the lazy dog. " * 30)
            file.flush()
            arguments = ["perplexity", "--text", file.name, "--json", "--context", "64"]
            result = json.loads(run(*arguments, "--windows", "2").stdout)
            self.assertEqual(result["tokens_scored"], 2 * 63)
            self.assertEqual(result["windows"], 2)
            self.assertGreater(result["perplexity"], 1)
            self.assertLess(result["perplexity"], 20)  # it repeats itself
            self.assertAlmostEqual(result["perplexity"], math.exp(result["mean_nll"]))
            chunked = json.loads(run(*arguments, "--windows", "2", "--chunk", "5").stdout)
            self.assertEqual(chunked["mean_nll"], result["mean_nll"])
            short = run("perplexity", "--text", file.name, "--context", "4000")
            self.assertEqual(short.returncode, 2)
            self.assertIn("fewer than one window of 4000", short.stderr)


    def test_eval(self):
        with tempfile.TemporaryDirectory() as folder:
            text, svg, out = (os.path.join(folder, name) for name in ("t.txt", "p.svg", "r.json"))
            with open(text, "w") as file:
                file.write(" ".join(str(n) for n in range(300)))
            arguments = ["eval", "--text", text, "--context", "64,96", "--windows", "1", "--kv",
                         "bf16,int8,int8/int4", "--decode", "3", "--activations", "f32"]
            done = run(*arguments, "--svg", svg, "--json")
            self.assertEqual(done.returncode, 0, done.stderr)
            report = json.loads(done.stdout)
            self.assertEqual(list(report), ["rows"])
            self.assertEqual([(row["context"], row["kv"]) for row in report["rows"]],
                             [(c, kv) for c in (64, 96) for kv in ("bf16", "int8", "int8/int4")])
            for row in report["rows"]:
                self.assertEqual(row["tokens"], row["context"] - 1)
                self.assertEqual(row["decode"]["same_as_prefill"], 3)
                self.assertLessEqual(row["bits_per_element"], 16)
                self.assertLess(row["mean_kl"], 0.1)
                self.assertEqual(row["mean_kl"] == 0, row["kv"] == "bf16")
            self.assertEqual(xml.dom.minidom.parse(svg).documentElement.tagName, "svg")
            self.assertEqual(run(*arguments, "--json", out, "--markdown", os.devnull).stdout, "")
            with open(out) as file:
                self.assertEqual(json.load(file), report)
            self.assertIn("| 64 | int8 |", run(*arguments).stdout)

    def test_calibration_files_are_checked(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "map.json")
            for content, sentence in [("{", "malformed JSON"), ("{}", "this is no KV calibration")]:
                with open(path, "w") as file:
                    file.write(content)
                done = run("chat", "-p", QUESTION, "--kv", "auto", "--kv-calibration", path)
                self.assertEqual(done.returncode, 2)
                self.assertIn(sentence, done.stderr)
                self.assertEqual(done.stderr.count("\n"), 1)
            done = run("chat", "-p", QUESTION, "--kv", "auto")
            self.assertIn("--kv auto needs --kv-calibration", done.stderr)
            done = run("chat", "-p", QUESTION, "--kv", "int8", "--kv-calibration", path)
            self.assertIn("goes with --kv auto", done.stderr)


class PoolBench(unittest.TestCase):
    def test_barrier(self):
        report = json.loads(run("bench", "--pool", "--threads", "2", "--json").stdout)
        self.assertEqual(report["threads"], 2)
        self.assertGreater(report["barrier_us_median"], 0)


def documented_variant():
    """my_variant.h, as docs/attention.md has it."""
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    with open(os.path.join(root, "docs/attention.md"), encoding="utf-8") as file:
        return re.search(r"```cpp\n(struct Streaming.*?)```", file.read(), re.DOTALL).group(1)


VARIANT = documented_variant()


@unittest.skipUnless(shutil.which(os.environ.get("CXX", "g++")), "there is no C++ compiler")
class AttentionVariants(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        self.header = os.path.join(self.directory.name, "my_variant.h")

    def build(self, text, *arguments, **options):
        with open(self.header, "w") as file:
            file.write(text)
        return run("attention", "build", self.header, *arguments, **options)

    def test_build_and_info(self):
        environment = {"XDG_CACHE_HOME": self.directory.name}
        done = self.build(VARIANT, environment=environment)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        path = done.stdout.rstrip("\n")
        self.assertRegex(path, self.directory.name + r"/kvasir/variants/my_variant-[0-9a-f]{32}\.so$")
        before = os.stat(path)
        copy = os.path.join(self.directory.name, "copy.so")
        done = self.build(VARIANT, "--output", copy, environment=environment)
        self.assertEqual((done.returncode, done.stdout), (0, copy + "\n"))
        after = os.stat(path)
        self.assertEqual((before.st_ino, before.st_mtime_ns), (after.st_ino, after.st_mtime_ns))
        info = json.loads(run("attention", "info", copy, "--json").stdout)
        self.assertEqual(info["variants"], [{"name": "Streaming", "params_bytes": 12,
                                             "params_alignment": 4, "use_softmax": True}])
        self.assertEqual(run("attention", "info", copy).stdout,
                         "Streaming: 12 bytes of parameters at multiples of 4, softmax\n")

    def test_refusals(self):
        cache = ["--cache", self.directory.name]
        done = self.build("#include <cmath>\n" + VARIANT, *cache)
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertTrue(done.stderr.startswith(f"kvasir: {self.header}:1: #include has no place"))
        done = self.build(VARIANT.replace("logits -", "logit -"), *cache)
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertIn(f"{self.header}:9:", done.stderr)
        self.assertTrue(done.stderr.endswith(
            f"\nkvasir: {self.header}: the header does not compile, as the compiler's messages say\n"))
        done = self.build(VARIANT, *cache, environment={"CXX": "/no/g++"})
        self.assertEqual(done.returncode, 2)
        self.assertIn("install g++, or set CXX", done.stderr)
        done = self.build(VARIANT, *cache, environment={"KVASIR_INCLUDE": "/no/kvasir"})
        self.assertIn("set KVASIR_INCLUDE", done.stderr)
        done = run("attention", "info", self.header)
        self.assertEqual(done.returncode, 2)
        self.assertIn("is not a shared object of attention variants", done.stderr)


class Terminal:
    """The program on a pseudo-terminal."""

    def __init__(self, *arguments):
        self.state = tempfile.TemporaryDirectory()
        try:
            self.pid, self.fd = pty.fork()
        except OSError as error:  # a chroot without /dev/pts, for example
            raise unittest.SkipTest(f"no pseudo-terminal here: {error}") from error
        if self.pid == 0:
            os.environ.update(TERM="xterm", XDG_STATE_HOME=self.state.name)
            os.execv(KVASIR, [KVASIR, *arguments])
        self.seen = ""

    def send(self, text):
        self.seen = ""
        try:
            os.write(self.fd, text.encode())
        except OSError:  # the program has just ended; whoever reads next finds out
            pass

    def wait_until(self, what, reached, seconds=60):
        """Reads until `reached()` is true of what was seen since the last send."""
        end = time.monotonic() + seconds
        while not reached():
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.fd], [], [], left)[0]:
                raise AssertionError(f"{what} did not come, but {self.seen!r}")
            try:
                self.seen += os.read(self.fd, 4096).decode(errors="replace")
            except OSError:  # the terminal is gone with its program
                raise AssertionError(f"{what} did not come, it ended after {self.seen!r}") from None

    def wait_for(self, text):
        self.wait_until(repr(text), lambda: text in self.seen)

    def wait_for_prompt(self):
        """Until the program reads a line: what is typed before has the terminal's own meaning."""
        self.wait_until("the prompt",
                        lambda: re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.seen).endswith("> "))

    def wait_for_more(self, characters):
        length = len(self.seen) + characters
        self.wait_until(f"{characters} characters", lambda: len(self.seen) >= length)

    def exit_code(self, seconds=30, key=None):
        """The code with which the program ends. `key` is typed each second until it does: libedit shows
        its prompt a moment before it takes the terminal, and a Ctrl-D of that moment is lost, or stays
        in the line, where further ones do not end the program."""
        end = time.monotonic() + seconds
        next_key = time.monotonic()
        while time.monotonic() < end:
            if key and time.monotonic() >= next_key:
                next_key += 1
                self.send(key)
            if select.select([self.fd], [], [], 0.05)[0]:
                try:
                    os.read(self.fd, 4096)
                except OSError:  # the terminal is gone with its program
                    pass
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                os.close(self.fd)
                self.state.cleanup()
                return os.waitstatus_to_exitcode(status)
        os.kill(self.pid, signal.SIGKILL)
        raise AssertionError("the program does not end")


# Ctrl-U, which empties the line, and Ctrl-D.
END = "\x15\x04"


@needs_model
class Conversation(unittest.TestCase):
    def test_ctrl_c_stops_the_answer_and_twice_the_program(self):
        terminal = Terminal("chat", "--max-tokens", "6000", "--activations", "f32")
        terminal.wait_for("Ctrl-D ends.")
        terminal.wait_for_prompt()
        terminal.send("Tell me a very long story.\n")
        terminal.wait_for("story.")
        terminal.wait_for_more(50)
        terminal.send("\x03")
        terminal.wait_for("(stopped)")
        terminal.wait_for_prompt()
        terminal.send(QUESTION + "\n")
        terminal.wait_for("Paris")
        terminal.send("\x03")  # wherever the answer is by now
        terminal.wait_for_prompt()
        terminal.send("half a line\x03")
        terminal.wait_for("(Ctrl-C again or Ctrl-D ends)")
        terminal.wait_for_prompt()
        terminal.send("\x03")
        self.assertEqual(terminal.exit_code(), 0)

    def test_commands(self):
        terminal = Terminal("chat", "--max-tokens", "5")
        terminal.wait_for("/help lists the commands")
        terminal.wait_for_prompt()
        terminal.send("/help\n")
        terminal.wait_for("/system TEXT")
        terminal.wait_for_prompt()
        terminal.send("/sats\n")
        terminal.wait_for("did you mean /stats?")
        terminal.wait_for_prompt()
        terminal.send("Grüße, 世界!\n")
        terminal.wait_for("(cut off")
        terminal.wait_for_prompt()
        terminal.send("/stats\n")
        terminal.wait_for("5 written")
        terminal.wait_for_prompt()
        terminal.send("/system You are a pirate.\n")
        terminal.wait_for("starts over with this system message")
        terminal.wait_for_prompt()
        terminal.send("/reset\n")
        terminal.wait_for("starts over")
        terminal.wait_for_prompt()
        self.assertEqual(terminal.exit_code(key=END), 0)

    def test_history_is_kept(self):
        terminal = Terminal("chat", "--max-tokens", "2")
        terminal.wait_for("Ctrl-D ends.")
        terminal.wait_for_prompt()
        terminal.send("/help\n")
        terminal.wait_for("/quit")
        terminal.wait_for_prompt()
        terminal.send("\x1b[A")  # up
        terminal.wait_for("/help")
        terminal.send("\n")
        terminal.wait_for("/quit")
        terminal.wait_for_prompt()
        terminal.send("/quit\n")
        history = os.path.join(terminal.state.name, "kvasir", "chat_history")
        end = time.monotonic() + 20
        while not os.path.exists(history) and time.monotonic() < end:
            time.sleep(0.05)
        self.assertEqual(os.stat(history).st_mode & 0o077, 0)
        self.assertEqual(terminal.exit_code(), 0)


if __name__ == "__main__":
    KVASIR = os.path.abspath(sys.argv.pop(1))
    unittest.main(verbosity=2)
