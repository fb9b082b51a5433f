"""Locks that the kernel lets go of when their owner dies, and who holds them.

Whoever may write in a lock's folder may take it, whoever made the file. Child processes do not hold a lock along with
their parent. Where a file system has no locks, the lock lies in this machine's /tmp instead.
"""

import errno
import fcntl
import hashlib
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO
from weakref import WeakSet

from eps_resnet.files.atomic import read_json

NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP}  # as file systems of clusters answer
OWN = Path("/tmp")  # of each machine; TMPDIR may be another for each job

_claimed: WeakSet[IO[str]] = WeakSet()  # lock files that this process has open


def _close_in_child() -> None:
    """A lock lasts until all who have the file open close it: a worker that hangs would keep that of a dead parent."""
    for file in list(_claimed):
        file.close()


os.register_at_fork(after_in_child=_close_in_child)


@dataclass(frozen=True)
class Owner:
    """The process that signed a lock."""

    pid: int
    host: str
    since: str
    command: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since} (`{self.command}`)"


def claim(path: Path, is_patient: bool = False) -> IO[str] | None:
    """The lock file, locked for as long as it is open; None if another process has it, which a patient one waits for.

    Raises OSError if the file cannot be made. On a network file system it holds between machines where flock does.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        file = _opened(path)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if is_patient else fcntl.LOCK_NB))
        except BlockingIOError:
            file.close()
            return None
        except OSError as error:
            file.close()
            if error.errno == errno.EBADF:  # NFS locks none but what may be written
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path)) from None
            if error.errno not in NO_LOCKS or path == _elsewhere(path):
                raise
            _say_that_there_are_none(path, error)
            return claim(_elsewhere(path), is_patient)
        if _is_still(file):
            _claimed.add(file)
            return file
        file.close()  # its former owner removed it meanwhile


def _say_that_there_are_none(path: Path, error: OSError) -> None:
    with suppress(OSError):
        path.unlink()
    print(
        f"{path}: this file system has no locks ({error.strerror}). Processes of this machine wait for one another all "
        "the same; let none on another machine work in this folder meanwhile.",
        file=sys.stderr,
        flush=True,
    )


def _opened(path: Path) -> IO[str]:
    """The file, made for all who may write in its folder if it is not there; another user's may be only readable."""
    while True:
        with suppress(FileNotFoundError):
            # Not O_CREAT at once: in a folder such as /tmp the kernel refuses another user's file with it.
            try:
                return _stream(path, "r+", os.O_RDWR)
            except PermissionError:
                return _stream(path, "r", os.O_RDONLY)  # flock asks for no more
        with suppress(FileExistsError):
            file = _stream(path, "r+", os.O_RDWR | os.O_CREAT | os.O_EXCL)
            with suppress(OSError):  # of file systems without modes
                os.fchmod(file.fileno(), path.parent.stat().st_mode & 0o666)
            return file


def _stream(path: Path, mode: str, flags: int) -> IO[str]:
    return open(path, mode, encoding="utf-8", opener=lambda name, _: os.open(name, flags, 0o666))


def _elsewhere(path: Path) -> Path:
    """Where a lock lies on this machine whose own file system has none: the same place for all its processes."""
    if path.parent == OWN:
        return path
    digits = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:16]
    return OWN / f"eps-resnet-{digits}.lock"


def sign(file: IO[str]) -> None:
    """Writes into a claimed lock file who holds it, where it is not another user's that may only be read."""
    if not file.writable():
        return
    since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])
    file.seek(0)
    file.truncate(0)
    file.write(json.dumps(asdict(Owner(os.getpid(), socket.gethostname(), since, command))))
    file.flush()


def owner_of(path: Path) -> Owner | None:
    """Who signed the lock last; None if nobody did, or it may not be read. It may live no longer."""
    for place in (path, _elsewhere(path)):
        with suppress(TypeError, PermissionError):
            return Owner(**read_json(place))
    return None


@contextmanager
def held(path: Path, purpose: str) -> Iterator[None]:
    """Holds a lock, after waiting for whoever has it, and says on standard error for whom. Removes it at the end."""
    file = claim(path)
    if file is None:
        print(f"{purpose}: waiting for {owner_of(path) or 'another process'}.", file=sys.stderr, flush=True)
        file = claim(path, is_patient=True)
        assert file
    with _signed(file):
        yield


@contextmanager
def held_if_free(path: Path) -> Iterator[bool]:
    """Holds a lock unless another process has it, and says whether it does. Removes it at the end."""
    file = claim(path)
    if file is None:
        yield False
        return
    with _signed(file):
        yield True


@contextmanager
def _signed(file: IO[str]) -> Iterator[None]:
    owner = os.getpid()
    try:
        sign(file)
        yield
    finally:
        if os.getpid() == owner:  # not a child that leaves the block as well
            with suppress(FileNotFoundError, PermissionError):  # in a folder such as /tmp only its maker may remove it
                Path(file.name).unlink()
        file.close()


@contextmanager
def held_by_first(path: Path, purpose: str) -> Iterator[None]:
    """Holds a lock for several processes that torchrun started together: the first one does, the others need not."""
    if int(os.environ.get("RANK") or 0) > 0:
        yield
        return
    with held(path, purpose):
        yield


def _is_still(file: IO[str]) -> bool:
    try:
        return Path(file.name).stat().st_ino == os.fstat(file.fileno()).st_ino
    except FileNotFoundError:
        return False
