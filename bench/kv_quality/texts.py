"""Texts of several kinds from Debian packages: fetched with apt-get download into the cache and
unpacked there, never installed. Each text is cut after TEXT_BYTES, and known by its SHA-256."""

import hashlib
import pathlib
import re
import subprocess

TEXT_BYTES = 400_000  # some 100,000 tokens


def _pod(root):
    """Perl's explanations of its error messages: technical prose."""
    return _one(root, "perl/*/pod/perldiag.pod").read_text(errors="replace")


def _manual(root):
    """Python's tutorial: prose about a language, with examples."""
    folder = _one(root, "_sources/tutorial")
    return "\n".join(path.read_text() for path in sorted(folder.glob("*.rst.txt")))


def _python(root):
    """Python's standard library: source code."""
    names = ("tarfile.py", "doctest.py", "difflib.py", "mailbox.py", "turtle.py")
    return "\n".join(_one(root, f"lib/python3.11/{name}").read_text() for name in names)


def _bible(root):
    """The King James Bible, printed by the package's own program: old literature."""
    program = _one(root, "bin/bible")
    data = _one(root, "lib/bible.data")
    verses = subprocess.run([program, "-f", "-p", data.parent, "Gen1:1-Rev22:21"],
                            check=True, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL).stdout
    # "Gen1:1 In the beginning ...": the text alone.
    return "\n".join(re.sub(r"^\S+\d+:\d+\s+", "", line)
                     for line in verses.decode(errors="replace").splitlines())


# Name -> (Debian packages, how the text is made from what they contain).
TEXTS = {
    "bible": (("bible-kjv-text", "bible-kjv"), _bible),
    "perldiag": (("perl-modules-5.36",), _pod),
    "python-manual": (("python3.11-doc",), _manual),
    "python-source": (("libpython3.11-stdlib",), _python),
}


class TextError(Exception):
    """A text that cannot be had here; the message says why."""


def _one(root, pattern):
    found = sorted(root.rglob(pattern))
    if not found:
        raise TextError(f"{root} has no {pattern}: the package has changed")
    return found[0]


def _unpack(package, root):
    root.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["apt-get", "download", package], cwd=root, text=True,
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    archives = sorted(root.glob(f"{package}_*.deb"))
    if done.returncode or not archives:
        lines = [line for line in done.stderr.splitlines() if line.startswith("E:")]
        raise TextError(f"apt-get could not download {package}: {' '.join(lines) or 'no archive'}")
    subprocess.run(["dpkg-deb", "-x", archives[-1].name, "."], cwd=root, check=True)


def fetch(name, cache):
    """(path, SHA-256) of the text `name` as UTF-8 below the directory `cache`."""
    path = pathlib.Path(cache) / f"{name}.txt"
    if not path.exists():
        packages, make = TEXTS[name]
        root = pathlib.Path(cache) / "packages" / name
        for package in packages:
            _unpack(package, root)
        text = make(root).encode()[:TEXT_BYTES].decode(errors="ignore")
        partial = path.with_suffix(".part")
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    return path, hashlib.sha256(path.read_bytes()).hexdigest()
