"""Digests of files and documents, and documents sealed with their own."""

import hashlib
import json
import time
from pathlib import Path
from typing import Any

from eps_resnet.files.atomic import read_json, write_json

COARSEST = 2  # seconds: no clock of a file system in use ticks more slowly
SEAL = "seal"  # a document's last key: the digest of the others


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Digests:
    """SHA-256 of files that are read again only if their size or times changed, kept in a JSON file.

    For decisions that are made each time Snakemake starts. `verify` and whoever uses a file read all of it. One of the
    times is that of the last change (ctime), which nobody sets. A file that changed a moment ago is not remembered:
    another change could have the same time.
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
        if isinstance(known, list) and known[:-1] == seen:
            return str(known[-1])
        is_settled = time.time() - status.st_ctime > COARSEST
        self._known.pop(str(path), None)
        found = sha256(path)
        if is_settled:
            self._known[str(path)] = [*seen, found]
        return found

    def is_altered(self, path: Path, expected: str | None) -> bool:
        """Whether a file that may be absent is there, but not with the SHA-256 it should have."""
        return path.exists() and self.sha256(path) != expected

    def save(self) -> None:
        """Writes what is known."""
        write_json(self.path, self._known)


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
