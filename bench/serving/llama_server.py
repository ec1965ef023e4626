"""llama-server, from the sources of llama.cpp that the package llama-cpp-python carries.

PyPI's package builds a library alone, but its source archive holds all of llama.cpp, the server
too. It is compiled once for this machine, as bench/peers compiles the library, and kept in the
cache.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tarfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "peers"))
import environment  # noqa: E402  (the path is set above)

# No pages for browsers, no downloads, no TLS: what is measured is the engine and its HTTP.
_CMAKE = ("-DCMAKE_BUILD_TYPE=Release", "-DBUILD_SHARED_LIBS=OFF", "-DGGML_NATIVE=ON",
          "-DLLAMA_BUILD_TESTS=OFF", "-DLLAMA_BUILD_EXAMPLES=OFF", "-DLLAMA_BUILD_APP=OFF",
          "-DLLAMA_OPENSSL=OFF", "-DLLAMA_USE_PREBUILT_UI=OFF")


def _version():
    for line in (environment.HERE / "requirements.txt").read_text().splitlines():
        if line.startswith("llama-cpp-python=="):
            return line.partition("==")[2].strip()
    raise environment.Unavailable("bench/peers/requirements.txt names no llama-cpp-python")


def _run(log, *command):
    print(f"+ {' '.join(map(str, command))}", file=log, flush=True)
    if subprocess.run(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL).returncode:
        raise environment.Unavailable(f"{pathlib.Path(command[0]).name} failed (log: {log.name})")


def _get_sources(folder, version, log):
    """folder/source is llama.cpp's tree."""
    archives = list(folder.glob("llama_cpp_python-*.tar.gz"))
    if not archives:
        _run(log, sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary",
             "llama-cpp-python", "--dest", folder, f"llama-cpp-python=={version}")
        archives = list(folder.glob("llama_cpp_python-*.tar.gz"))
    unpacked = folder / "unpacked"
    shutil.rmtree(unpacked, ignore_errors=True)
    with tarfile.open(archives[0]) as archive:
        archive.extractall(unpacked, filter="data")
    os.replace(next(unpacked.iterdir()) / "vendor/llama.cpp", folder / "source")
    shutil.rmtree(unpacked)


def program():
    """(path of llama-server, its version), built if it has to be; or environment.Unavailable."""
    version = _version()
    folder = environment.CACHE / f"llama-server-{version}"
    built = folder / "build/bin/llama-server"
    if not built.exists():
        folder.mkdir(parents=True, exist_ok=True)
        log_path = environment.CACHE / "log" / "llama-server.log"
        log_path.parent.mkdir(parents=True, exist_ok=True)
        print(f"Compiling llama-server {version} into {folder} (some ten minutes; log: {log_path})",
              file=sys.stderr, flush=True)
        with open(log_path, "w") as log:
            if not (folder / "source").exists():
                _get_sources(folder, version, log)
            _run(log, "cmake", "-S", folder / "source", "-B", folder / "build", "-G", "Ninja",
                 *_CMAKE)
            _run(log, "nice", "ninja", "-C", folder / "build", "llama-server")
    return built, f"llama-server of llama-cpp-python {version}"
