"""Files written whole or not at all, and their digests."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Digests:
    """SHA-256 of files that are read again only if their size or times changed, kept in a JSON file.

    For decisions that are made each time Snakemake starts. `verify` and whoever uses a file read all of it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        known = read_json(path)
        self._known: dict[str, Any] = known if isinstance(known, dict) else {}

    def sha256(self, path: Path) -> str:
        """SHA-256 of a file, in hexadecimal."""
        status = path.stat()
        seen = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
        known = self._known.get(str(path))
        if not isinstance(known, list) or known[:-1] != seen:
            known = self._known[str(path)] = [*seen, sha256(path)]
        return str(known[-1])

    def save(self) -> None:
        """Writes what is known."""
        write_json(self.path, self._known)


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Lets `write` fill a temporary file beside `path`, which then takes its place; on any error `path` is untouched.

    Raises what `write` raises; OSError if the folder cannot be written or no space is left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        write(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the new name itself must survive a crash
    finally:
        os.close(folder)


def write_text(path: Path, text: str) -> None:
    """Writes text atomically."""
    write_atomically(path, lambda temporary: temporary.write_text(text))


def write_json(path: Path, document: Any) -> None:
    """Writes a JSON document atomically: indented, keys in the order given, equal bytes for equal documents."""
    write_text(path, json.dumps(document, indent=2, allow_nan=False) + "\n")


SEAL = "seal"  # a document's last key: the digest of the others


def digest(document: Any) -> str:
    """Sixteen hexadecimal digits of a JSON document's canonical form."""
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:16]


def write_sealed(path: Path, document: dict[str, Any]) -> None:
    """Writes a JSON document with its own digest, so that an altered one is noticed (not one that is sealed anew)."""
    write_json(path, {**document, SEAL: digest(document)})


def is_sealed(document: Any) -> bool:
    """Whether a document is as `write_sealed` wrote it."""
    if not isinstance(document, dict):
        return False
    return document.get(SEAL) == digest({name: value for name, value in document.items() if name != SEAL})


def read_json(path: Path) -> Any:
    """Reads a JSON document; None if the file is missing or damaged."""
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return None
