"""Locks that the kernel lets go of when their owner dies, and who holds them."""

import fcntl
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from eps_resnet.files.atomic import read_json


@dataclass(frozen=True)
class Owner:
    """The process that signed a lock."""

    pid: int
    host: str
    since: str
    command: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since} (`{self.command}`)"


def claim(path: Path) -> IO[str] | None:
    """The lock file, locked for as long as it is open; None if another process has it.

    Raises OSError if the file cannot be made. On a network file system it holds between machines where flock does.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        file = path.open("a+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        if _is_still(path, file):
            return file
        file.close()  # its former owner removed it meanwhile


def sign(file: IO[str]) -> None:
    """Writes into a claimed lock file who holds it."""
    since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])
    file.truncate(0)
    file.write(json.dumps(asdict(Owner(os.getpid(), socket.gethostname(), since, command))))
    file.flush()


def owner_of(path: Path) -> Owner | None:
    """Who signed the lock last; None if nobody did. It may live no longer."""
    try:
        return Owner(**read_json(path))
    except TypeError:
        return None


@contextmanager
def held(path: Path, purpose: str) -> Iterator[None]:
    """Holds a lock, after waiting for whoever has it, and says on standard error for whom. Removes it at the end."""
    file = claim(path)
    if file is None:
        print(f"{purpose}: waiting for {owner_of(path) or 'another process'}.", file=sys.stderr, flush=True)
        file = _wait_for(path)
    with _signed(path, file):
        yield


@contextmanager
def held_if_free(path: Path) -> Iterator[bool]:
    """Holds a lock unless another process has it, and says whether it does. Removes it at the end."""
    file = claim(path)
    if file is None:
        yield False
        return
    with _signed(path, file):
        yield True


@contextmanager
def _signed(path: Path, file: IO[str]) -> Iterator[None]:
    try:
        sign(file)
        yield
    finally:
        path.unlink(missing_ok=True)
        file.close()


@contextmanager
def held_by_first(path: Path, purpose: str) -> Iterator[None]:
    """Holds a lock for several processes that torchrun started together: the first one does, the others need not."""
    if int(os.environ.get("RANK", 0)) > 0:
        yield
        return
    with held(path, purpose):
        yield


def _wait_for(path: Path) -> IO[str]:
    while True:
        file = path.open("a+", encoding="utf-8")
        fcntl.flock(file, fcntl.LOCK_EX)
        if _is_still(path, file):
            return file
        file.close()


def _is_still(path: Path, file: IO[str]) -> bool:
    try:
        return path.stat().st_ino == os.fstat(file.fileno()).st_ino
    except FileNotFoundError:
        return False
