"""MATLAB files of version 5, of which nothing is trusted: arrays of numbers, and fields of structures.

scipy reads them too, but a wrong type in an array, or cells that are nested deeply, end its process with SIGSEGV
(scipy 1.17), and it allocates what a file only claims to hold. The layout is that of MathWorks' "MAT-File Format".
Whatever is wrong in a file raises ValueError or zlib.error here; `archive.reading` turns that into UserError.
"""

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from math import prod
from typing import Any, BinaryIO, NamedTuple

import numpy as np

CHUNK = 1 << 20  # bytes read or inflated at a time
HEAD, VERSION = 128, b"\x00\x01IM"  # bytes of a file's head, which ends in the version, in little-endian order
VARIABLES = 100  # the most that a file may have
HEADER, VALUE = 64 << 10, 1 << 10  # the most bytes of a shape or of names, and of a text or a number in a field
RECORDS = 10_000  # the most that a structure may have
INT32, MATRIX, COMPRESSED = 5, 14, 15  # types of elements, beside those of numbers and texts
NUMBERS = {1: "i1", 2: "u1", 3: "<i2", 4: "<u2", 5: "<i4", 6: "<u4", 7: "<f4", 9: "<f8", 12: "<i8", 13: "<u8"}
TEXTS = {1: "latin-1", 2: "latin-1", 4: "utf-16-le", 16: "utf-8", 17: "utf-16-le"}
# Classes of arrays. Those of functions and objects have no shape here: they are passed over.
NUMERIC = {6: "float64", 7: "float32", 8: "int8", 9: "uint8", 10: "int16", 11: "uint16", 12: "int32", 13: "uint32"}
NUMERIC |= {14: "int64", 15: "uint64"}
CLASSES = {**NUMERIC, 1: "cell", 2: "struct", 4: "char", 5: "sparse"}


class Stream:
    """Bytes one after another, of which `left` may still be read."""

    def __init__(self, read: Callable[[int], bytes], left: int) -> None:
        self._read, self.left = read, left
        self._unfinished: tuple[Stream, int] | None = None  # the element begun last, and its padding

    def read(self, size: int) -> bytes:
        """The next `size` bytes. Raises ValueError if there are not as many."""
        self.finish()
        self._claim(size)
        parts = []
        while size:
            part = self._read(min(size, CHUNK))
            if not part:
                raise ValueError("it ends too early")
            size -= len(part)
            parts.append(part)
        return b"".join(parts)

    def whole(self, most: int) -> bytes:
        """All that is left. Raises ValueError if that is more than `most` bytes."""
        if self.left > most:
            raise ValueError(f"{self.left} bytes where {most} are the most that is expected")
        return self.read(self.left)

    def element(self) -> tuple[int, "Stream"]:
        """The type and the content of the next element. What is not read of it is passed over afterwards."""
        kind, size = struct.unpack("<II", self.read(8))
        if kind >> 16:  # up to four bytes, in the place of the size
            return kind & 0xFFFF, Stream(io.BytesIO(struct.pack("<I", size)).read, min(4, kind >> 16))
        self._claim(size)
        content = Stream(self._read, size)
        self._unfinished = content, 0 if kind == COMPRESSED else -size % 8
        return kind, content

    def finish(self) -> None:
        """Passes over what was not read of the element begun last."""
        if self._unfinished is not None:
            (content, padding), self._unfinished = self._unfinished, None
            content.finish()
            while content.left:
                content.read(min(CHUNK, content.left))
            self.read(min(padding, self.left))

    def _claim(self, size: int) -> None:
        if size > self.left:
            raise ValueError("a part of it is longer than what holds it")
        self.left -= size


class _Inflated:
    """The bytes that a compressed element unpacks to, no more at a time than are asked for."""

    def __init__(self, packed: Stream) -> None:
        self._packed, self._decoder = packed, zlib.decompressobj()

    def read(self, size: int) -> bytes:
        while not self._decoder.eof:
            data = self._decoder.unconsumed_tail or self._packed.read(min(CHUNK, self._packed.left))
            part = self._decoder.decompress(data, size)
            if part or not data:
                return part
        return b""

    def require_end(self) -> None:
        if self.read(1) or not self._decoder.eof:  # zlib checks its checksum at the end
            raise ValueError("a compressed array does not end where its size says")


class Array(NamedTuple):
    """An array of which only the header was read. `kind` is its class: a type of numbers, `struct`, ..."""

    name: str
    kind: str
    shape: tuple[int, ...]
    content: Stream
    require_end: Callable[[], None]

    def numbers(self) -> tuple["np.dtype[Any]", Stream]:
        """How the numbers are stored, and they themselves, first index fastest: as many as the shape says."""
        if self.kind not in NUMERIC.values():
            raise ValueError(f"{self.name or 'a field'} is of type {self.kind}, not numbers")
        kind, content = self.content.element()
        if kind not in NUMBERS:
            raise ValueError(f"numbers of an unknown type ({kind})")
        dtype = np.dtype(NUMBERS[kind])
        if content.left != prod(self.shape) * dtype.itemsize:
            raise ValueError(f"{content.left} bytes for numbers of shape {self.shape}")
        return dtype, content

    def finish(self) -> None:
        """Raises ValueError if something follows what was read, or zlib.error if the array's checksum is wrong."""
        self.content.finish()
        if self.content.left:
            raise ValueError("an array holds more than its shape says")
        self.require_end()


def variables(file: BinaryIO) -> Iterator[Array]:
    """The variables of a file, to be read in this order."""
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    stream = Stream(file.read, size)
    if stream.read(HEAD)[-4:] != VERSION:
        raise ValueError("it does not begin as files of MATLAB's version 5 do (little-endian)")
    for _ in range(VARIABLES):
        if not stream.left:
            return
        kind, content = stream.element()
        require_end: Callable[[], None] = lambda: None  # noqa: E731
        if kind == COMPRESSED:
            inflated = _Inflated(content)
            require_end = inflated.require_end
            kind, content = Stream(inflated.read, 1 << 33).element()
        if kind != MATRIX:
            raise ValueError(f"an element of type {kind} where an array is expected")
        yield _array(content, require_end)
        stream.finish()
    raise ValueError(f"more than {VARIABLES} variables")


def records(array: Array, wanted: tuple[str, ...]) -> Iterator[dict[str, int | float | str]]:
    """The wanted fields of each record of a structure: numbers and short texts."""
    if array.kind != "struct" or prod(array.shape) > RECORDS:
        raise ValueError(f"{array.name} is of type {array.kind} and shape {array.shape}, not a list of records")
    _, length = array.content.element()
    width = int.from_bytes(length.whole(4), "little")
    _, text = array.content.element()
    names = text.whole(HEADER)
    fields = [names[at : at + width].split(b"\0")[0].decode("latin-1") for at in range(0, len(names), width)]
    if missing := set(wanted) - set(fields):
        raise ValueError(f"{array.name} has no field {', '.join(sorted(missing))}")
    for _ in range(prod(array.shape)):
        record = {}
        for field in fields:
            kind, content = array.content.element()
            if kind != MATRIX:
                raise ValueError(f"an element of type {kind} in a field")
            if field in wanted:
                record[field] = _value(_array(content, content.finish))
        yield record
    array.finish()


def _array(content: Stream, require_end: Callable[[], None]) -> Array:
    _, flags = content.element()
    kind = flags.whole(8)[0]
    if kind not in CLASSES:
        return Array("", f"class {kind}", (), content, require_end)
    kinds, shape = content.element()
    lengths = np.frombuffer(shape.whole(HEADER), "<i4").tolist()
    if kinds not in (INT32, INT32 + 1) or min(lengths, default=-1) < 0:
        raise ValueError(f"an array has the shape {lengths[:4]}")
    _, name = content.element()
    return Array(name.whole(HEADER).decode("latin-1"), CLASSES[kind], tuple(lengths), content, require_end)


def _value(array: Array) -> int | float | str:
    if array.kind == "char":
        kind, text = array.content.element()
        if kind not in TEXTS:
            raise ValueError(f"text of an unknown type ({kind})")
        return text.whole(VALUE).decode(TEXTS[kind])
    dtype, numbers = array.numbers()
    if array.shape != (1, 1):
        raise ValueError(f"a field has numbers of shape {array.shape}")
    value: int | float = np.frombuffer(numbers.whole(VALUE), dtype)[0].item()
    return value
