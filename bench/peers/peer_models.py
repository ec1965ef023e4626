"""Peers as processes, and the default model in the types that they make of it."""

import sys

import environment
import protocol

DEFAULT_MODEL = environment.CACHE / "models/SmolLM2-135M-Instruct.Q4_1.gguf"


def say(*text):
    print(*text, file=sys.stderr, flush=True)


def start_peer(name, python):
    """(peer process, its info()). Sees to it that llama.cpp is compiled for this CPU."""
    kind = environment.PEERS[name]
    log = environment.CACHE / "log" / f"peer-{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    start = lambda: protocol.Peer(python or environment.python_of(kind),
                                  environment.HERE / kind.script, log)
    peer = start()
    info = peer.info()
    if name == "llama.cpp" and not python:
        left_out = environment.instruction_sets_left_out(info["build"])
        if left_out:
            say(f"llama.cpp was built without {', '.join(left_out)}: building it again")
            peer.close()
            environment.rebuild(kind)
            peer = start()
            info = peer.info()
    return peer, info


def converted(model, kind):
    """The default model as `kind`, made by llama.cpp's quantiser and kept in the cache."""
    if kind == "Q4_1":
        return model
    target = environment.CACHE / "models/peers" / f"{model.stem.removesuffix('.Q4_1')}.{kind}.gguf"
    if not target.exists() or target.stat().st_mtime < model.stat().st_mtime:
        target.parent.mkdir(parents=True, exist_ok=True)
        say(f"Converting {model.name} to {kind} with llama.cpp")
        maker, _ = start_peer("llama.cpp", None)
        maker.quantize(source=str(model), target=str(target), kind=kind)
        maker.close()
    return target
