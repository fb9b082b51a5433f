"""Tars that may be damaged or hostile: plain files come out one by one, nothing is written to disk, memory is bounded.

Digests are checked before an archive is opened. This is what stands behind them.
"""

import gzip
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from eps_resnet.files.errors import UserError

CHUNK = 1 << 20  # bytes read at a time
# Bytes of headers before one file. Real ones have 512 to 2,560; tarfile would take as many as a header claims.
HEADERS = 8 << 10
SHOWN = 100  # characters of a name, or of a library's words, in a message
PLAIN = (tarfile.REGTYPE, tarfile.AREGTYPE)
KINDS = {
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.LNKTYPE: "a hard link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a named pipe",
}


@contextmanager
def _reading(path: Path, what: str) -> Iterator[None]:
    """Turns whatever the reader of a damaged or hostile file raises into a UserError that says `what` was expected.

    The disk's own errors and a lack of memory pass.
    """
    try:
        yield
    except (UserError, MemoryError):
        raise
    except Exception as error:  # tarfile, gzip, zlib and struct raise a dozen kinds, RecursionError among them
        if isinstance(error, OSError) and error.errno is not None:
            raise
        reason = str(error)[:SHOWN] or type(error).__name__
        raise UserError(f"{path} is damaged or not {what}: {reason}. Get it anew.") from None


def contents(path: Path, names: tuple[str, ...], most: int, what: str) -> dict[str, bytes]:
    """The files of these names, in whatever folder, of a gzipped tar. `what` it should be is named in messages.

    Raises UserError if one is missing or there twice, if the tar is damaged or unpacks to more than `most` bytes, or
    if it has a member that is no plain file or folder, or that is named to lie elsewhere.
    """
    found = {}
    with _reading(path, f"{what}, a gzipped tar"), gzip.open(path) as opened:
        file = cast(BinaryIO, opened)
        for name, member in plain_files(file, path, most, names.__contains__):
            found[name] = b"".join(_parts(file, member.size))
        while file.read(CHUNK):  # to the checksum at the end
            if file.tell() > most:
                raise tarfile.ReadError(f"it holds more than {most} bytes")
    if missing := set(names) - set(found):
        raise UserError(f"{path} has no {', '.join(sorted(missing))}; expected {what}.")
    return found


def plain_files(
    file: BinaryIO, path: Path, end: int, is_wanted: Callable[[str], bool]
) -> Iterator[tuple[str, tarfile.TarInfo]]:
    """The wanted files, each with its name without folders, of the tar that begins where `file` stands.

    The tar reaches to `end` at most, counted from the beginning of `file`, which stands at a member's content while
    that member is out. Raises UserError, which names `path`, as `contents` does.
    """
    source, seen = _Source(file, end), set[str]()
    with _reading(path, "a tar"), tarfile.open(fileobj=source, mode="r:") as tar:  # type: ignore[call-overload]
        while (member := tar.next()) is not None:
            tar.members.clear()  # tarfile would keep all of them, and of the headers for all files
            tar.pax_headers.clear()
            _refuse_unsafe(path, member, end)
            name = PurePosixPath(member.name).name
            if member.type in PLAIN and is_wanted(name):
                if name in seen:
                    raise UserError(f"{path} has {name[:SHOWN]!r} twice; expected it once. Get the archive anew.")
                seen.add(name)
                yield name, member
            source.left = HEADERS
        if source.last.strip(b"\0"):  # tarfile takes a damaged header for the end
            raise tarfile.ReadError(f"no header at byte {file.tell() - len(source.last)}")


class _Source:
    """What tarfile sees of a file: it may only move forward, to `end`, and read few bytes before each member."""

    def __init__(self, file: BinaryIO, end: int) -> None:
        self.file, self.end, self.left, self.last = file, end, HEADERS, b""

    def tell(self) -> int:
        return self.file.tell()

    def seek(self, place: int) -> None:
        if not self.tell() <= place <= self.end:  # a negative size would lead tarfile round in circles
            raise tarfile.ReadError("a member does not follow the one before it")
        self.file.seek(place)

    def read(self, size: int) -> bytes:
        if not 0 <= size <= self.left:
            raise tarfile.ReadError(f"more than {HEADERS} bytes of headers before a file")
        self.left -= size
        self.last = self.file.read(min(size, max(0, self.end - self.tell())))
        return self.last


def _refuse_unsafe(path: Path, member: tarfile.TarInfo, end: int) -> None:
    name = member.name
    wrong = None
    if name.startswith("/") or ".." in PurePosixPath(name).parts:
        wrong = "lies outside the archive's folder"
    elif not name.isprintable():
        wrong = "has control characters or broken UTF-8 in its name"
    elif member.type not in (*PLAIN, tarfile.DIRTYPE) or member.issparse():
        wrong = f"is {KINDS.get(member.type, 'of a special kind')}"
    elif member.size < 0 or member.offset_data + member.size > end:
        wrong = f"has {member.size} bytes, more than the archive may hold ({end})"
    if wrong:
        raise UserError(
            f"{path} was not read: member {name[:SHOWN]!r} {wrong}; expected plain files and folders below one folder. "
            "Get the archive from a source you trust."
        )


def _parts(file: BinaryIO, size: int) -> Iterator[bytes]:
    while size:
        part = file.read(min(size, CHUNK))
        if not part:
            raise EOFError("it ends within a file")
        size -= len(part)
        yield part
