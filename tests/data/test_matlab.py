"""MATLAB files: what MATLAB wrote reads as scipy reads it, and what is hostile ends with an error."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from eps_resnet.data import matlab, svhn
from eps_resnet.files.errors import UserError

BY_MATLAB = Path(scipy.io.__file__).parent / "matlab/tests/data"
HEAD = b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM"
UINT8, INT32, UINT32, INT8 = 2, 5, 6, 1  # types of elements


def element(kind: int, content: bytes) -> bytes:
    return struct.pack("<II", kind, len(content)) + content + bytes(-len(content) % 8)


def array(name: bytes, kind: int, shape: tuple[int, ...], body: bytes) -> bytes:
    flags, lengths = element(UINT32, struct.pack("<II", kind, 0)), struct.pack(f"<{len(shape)}i", *shape)
    return element(matlab.MATRIX, flags + element(INT32, lengths) + element(INT8, name) + body)


def packed(content: bytes) -> bytes:
    deflated = zlib.compress(content)
    return struct.pack("<II", matlab.COMPRESSED, len(deflated)) + deflated


def images(count: int, content: bytes, kind: int = UINT8) -> bytes:
    return array(b"X", 9, (32, 32, 3, count), struct.pack("<II", kind, len(content)) + content)


def labels(count: int) -> bytes:
    return array(b"y", 9, (count, 1), element(UINT8, b"\1" * count))


def numbers_of(file: Any) -> dict[str, Any]:
    found = {}
    for variable in matlab.variables(file):
        if variable.kind in matlab.NUMERIC.values():
            dtype, content = variable.numbers()
            numbers = np.frombuffer(content.read(content.left), dtype)
            found[variable.name] = numbers.reshape(variable.shape, order="F")
            variable.finish()
    return found


@pytest.mark.parametrize("name", ["test3dmatrix", "testdouble", "testmatrix", "testminus", "testmulti"])
@pytest.mark.parametrize("version", ["7.1_GLNX86", "7.4_GLNX86"])
def test_numbers_that_matlab_wrote_read_as_scipy_reads_them(name: str, version: str) -> None:
    path = BY_MATLAB / f"{name}_{version}.mat"
    expected = {key: value for key, value in scipy.io.loadmat(path).items() if not key.startswith("__")}
    with path.open("rb") as file:
        found = numbers_of(file)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert np.array_equal(found[key], value)


@pytest.mark.parametrize("version", ["6.5.1_GLNX86", "7.1_GLNX86", "7.4_GLNX86"])
def test_fields_that_matlab_wrote_read_as_scipy_reads_them(version: str) -> None:
    path = BY_MATLAB / f"teststructarr_{version}.mat"
    expected = scipy.io.loadmat(path, squeeze_me=True)["teststructarr"]
    with path.open("rb") as file:
        found = [record for variable in matlab.variables(file) for record in matlab.records(variable, ("one", "two"))]
    assert [record["one"] for record in found] == expected["one"].tolist()
    assert [record["two"] for record in found] == expected["two"].tolist()


@given(
    arrays.arrays(
        st.sampled_from(["u1", "i1", "u2", "i4", "u8", "f4", "f8"]),
        arrays.array_shapes(min_dims=2, max_dims=4, max_side=5),
    ),
    st.booleans(),
)
def test_what_scipy_writes_reads_the_same(values: Any, is_packed: bool) -> None:
    file = io.BytesIO()
    scipy.io.savemat(file, {"before": values, "text": "some text", "after": values[:1]}, do_compression=is_packed)
    found = numbers_of(file)
    assert found.keys() == {"before", "after"}
    assert found["before"].tobytes() == values.tobytes()
    assert found["after"].tobytes() == values[:1].tobytes()


PIXELS = bytes(svhn.PIXELS)
BIG = bytes(40 << 20)
HOSTILE = {
    "an unknown type of numbers": (images(1, PIXELS, 0) + labels(1), "unknown type"),
    "a type beyond all types": (images(1, PIXELS, 0xFFFF) + labels(1), "unknown type"),
    "more pixels than the shape says": (packed(images(1, BIG)) + labels(1), "41943040 bytes for numbers of shape"),
    "fewer pixels than the shape says": (images(2, PIXELS) + labels(2), "3072 bytes for numbers of shape"),
    "more images than can be": (packed(images(2**31 - 1, PIXELS)) + labels(1), "has X .*2147483647.* and y"),
    "more images than a file of this size can hold": (
        packed(images(900_000, PIXELS)) + packed(array(b"y", 9, (900_000, 1), b"")),
        "says that it has 900000 images, which cannot be",
    ),
    "no images": (images(0, b"") + labels(0), "says that it has 0 images"),
    "a negative shape": (array(b"X", 9, (32, 32, 3, -1), b"") + labels(1), "has the shape"),
    "an array twice": (images(1, PIXELS) * 2 + labels(1), "has 'X' twice"),
    "too many arrays": (
        labels(1)[:-8] * 0 + b"".join(array(b"%d" % i, 9, (1, 1), b"") for i in range(200)),
        "more than",
    ),
    "a sparse array": (array(b"X", 5, (32, 32, 3, 1), b"") + labels(1), "X of type sparse"),
    "an array that is longer than the file": (images(1, PIXELS)[:-10], "longer than what holds it"),
    "an array that inflates further": (packed(images(1, PIXELS) + b"more") + labels(1), "does not end where"),
    "an array that is cut": (packed(images(1, PIXELS))[:-6] + b"\0" * 6 + labels(1), "does not end where"),
    "no array": (element(UINT8, b"text") * 2, "where an array is expected"),
    "an older version": (b"", "does not begin as files of MATLAB's version 5"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_file_is_refused(tmp_path: Path, kind: str) -> None:
    content, message = HOSTILE[kind]
    path = tmp_path / "train_32x32.mat"
    path.write_bytes((HEAD if content else bytes(128)) + content)
    with pytest.raises(UserError, match=message):
        svhn.parse([path])


def test_cells_nested_a_hundred_thousand_deep_are_passed_over(tmp_path: Path) -> None:
    inner, size = [array(b"", 6, (1, 1), element(9, bytes(8)))], 0
    head = array(b"", 1, (1, 1), b"")[8:]
    size = len(inner[0])
    for _ in range(100_000):
        size += len(head)
        inner.append(struct.pack("<II", matlab.MATRIX, size) + head)
        size += 8
    path = tmp_path / "train_32x32.mat"
    path.write_bytes(HEAD + b"".join(reversed(inner)) + images(1, PIXELS) + labels(1))
    assert len(svhn.parse([path])[0]) == 1


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"WNID": "n1"}, "has no field ILSVRC2012_ID"),
        ({"ILSVRC2012_ID": 1, "WNID": "n" * 5000}, "5000 bytes where 1024 are"),
        ({"ILSVRC2012_ID": np.zeros((1, 2)), "WNID": "n1"}, "numbers of shape"),
        ({"ILSVRC2012_ID": np.zeros((1, 200)), "WNID": "n1"}, "numbers of shape"),
        ({"ILSVRC2012_ID": np.array([1, 2], dtype=object), "WNID": "n1"}, "of type cell, not numbers"),
    ],
)
def test_a_structure_with_other_fields_is_refused(fields: dict[str, Any], message: str) -> None:
    file = io.BytesIO()
    scipy.io.savemat(file, {"synsets": fields})
    synsets = next(matlab.variables(file))
    with pytest.raises(ValueError, match=message):
        list(matlab.records(synsets, ("ILSVRC2012_ID", "WNID")))
