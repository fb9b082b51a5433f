"""Damaged and made-up archives: the right images or one readable message, in little memory, no dead process."""

import gzip
import io
import json
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eps_resnet.data.imagenet import TEST_TAR, TRAIN_TAR
from tests.conftest import Fault
from tests.data.imagenet_copies import make_folder, make_tars
from tests.data.test_cifar import FILES, records

pytestmark = pytest.mark.faults

# Reads the file named on each line, and answers with how that ended. What the system allows it is all there is.
READER = """
import hashlib, json, resource, sys
from pathlib import Path
import torch
from eps_resnet.data import cifar, imagenet

def status(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(dict(line.split(":", 1) for line in lines)[field].split()[0])

def sums(images, labels):
    assert images.shape == (len(labels), 3, 32, 32) and len(labels) and int(labels.max()) < 10
    return hashlib.sha256(images.numpy().tobytes() + labels.numpy().tobytes()).hexdigest()

def read(kind, path):
    if kind == "cifar":
        images = cifar.read(cifar.CIFAR10, path)
        return [sums(images.train_images, images.train_labels), sums(images.test_images, images.test_labels)]
    members = imagenet._train_members(path) if kind == "train" else imagenet._test_members(path, ["n1"] * 6)
    return list(members)

torch.set_num_threads(1)
cifar.UNPACKED = 4 << 20
before, most = status("VmRSS"), int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_AS, (1024 * (status("VmSize") + most),) * 2)
resource.setrlimit(resource.RLIMIT_CPU, (600, 600))
for line in sys.stdin:
    kind, path = line.split()
    found, message = None, ""
    try:
        found, ended = read(kind, Path(path)), "read"
    except BaseException as error:
        ended, message = type(error).__name__, str(error)
    answer = {"ended": ended, "found": found, "message": message, "growth": status("VmHWM") - before}
    print(json.dumps(answer), flush=True)
"""
MOST_MEMORY = 64 * 1024  # kB beyond the interpreter and its libraries; the bounds in the reader are at 4 MiB


class Reader:
    """A process that reads archives one after another."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "archive"
        command = [sys.executable, "-c", READER, str(MOST_MEMORY)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def read(self, kind: str, archive: bytes) -> Any:
        """What is in it; None if it was refused. Raises AssertionError if it ended in any other way."""
        assert self.process.stdin
        assert self.process.stdout
        self.file.write_bytes(archive)
        self.process.stdin.write(f"{kind} {self.file}\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        assert answer["ended"] in ("read", "UserError"), answer
        assert answer["growth"] < MOST_MEMORY
        assert len(answer["message"]) < 2000
        return answer["found"]

    def close(self) -> None:
        """Ends the process."""
        assert self.process.stdin
        self.process.stdin.close()
        assert self.process.wait(timeout=60) == 0


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    reader = Reader(tmp_path_factory.mktemp("archives"))
    yield reader
    reader.close()


def many(count: int) -> settings:
    return settings(
        max_examples=count, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )


place = st.integers(0, 2**32 - 1)
OPERATIONS = ("flip", "overwrite", "insert", "repeat", "delete", "cut", "flood")
damages = st.lists(st.tuples(st.sampled_from(OPERATIONS), place, place, st.binary(max_size=16)), min_size=1, max_size=4)
Damages = list[tuple[str, int, int, bytes]]


def damaged(whole: bytes, damages: Damages) -> bytes:
    """The bytes with some of them changed, inserted, repeated elsewhere, taken out or cut off."""
    result = bytearray(whole)
    for operation, at, until, noise in damages:
        start, end = sorted((at % (len(result) + 1), until % (len(result) + 1)))
        if operation == "flip" and start < len(result):
            result[start] ^= 1 << until % 8
        elif operation == "overwrite":
            result[start : start + len(noise)] = noise
        elif operation == "insert":
            result[start:start] = noise
        elif operation == "repeat":
            result[start:start] = result[start:end]
        elif operation == "delete":
            del result[start:end]
        elif operation == "cut":
            del result[end:]
        elif operation == "flood":
            result[start:start] = bytes(until % (16 << 20) if at % 100 == 0 else until % 2000)
        del result[64 << 20 :]
    return bytes(result)


# The fields of a header, what hostile ones hold, and whether its checksum is made right again.
FIELDS = {"name": (0, 100), "mode": (100, 108), "size": (124, 136), "checksum": (148, 156), "type": (156, 157)}
FIELDS |= {"link": (157, 257), "magic": (257, 265), "prefix": (345, 500)}
values = st.one_of(
    st.binary(max_size=155),
    st.sampled_from([b"0", b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"L", b"K", b"S", b"x", b"g", b"X", b"\0"]),
    st.sampled_from(
        [b"../../data_batch_1.bin", b"/data_batch_1.bin", b"a/n01440764_0.JPEG", b"n1.tar", b"test_batch.bin"]
    ),
    st.integers(-(2**63), 2**63 - 1).map(lambda number: b"\xff" * 4 + number.to_bytes(8, "big", signed=True)),
    st.integers(0, 2**63 - 1).map(lambda number: b"\x80\0\0\0" + number.to_bytes(8, "big")),
    st.integers(0, 2**33 - 1).map(lambda number: f"{number:011o}\0".encode()),
)
headers = st.lists(st.tuples(place, st.sampled_from(sorted(FIELDS)), values, st.booleans()), min_size=1, max_size=4)
Headers = list[tuple[int, str, bytes, bool]]


def reheaded(tar: bytes, headers: Headers) -> bytes:
    """The tar with fields of its headers exchanged; any block may be taken for one, mostly a real one."""
    result = bytearray(tar)
    blocks = [at for at in range(0, len(tar), 512) if tar[at + 257 : at + 262] == b"ustar"]
    for at, field, value, is_valid in headers:
        start = blocks[at % len(blocks)] if at % 8 else at % (len(tar) // 512) * 512
        first, last = FIELDS[field]
        result[start + first : start + last] = value[: last - first].ljust(last - first, b"\0")
        if is_valid:
            result[start + 148 : start + 156] = b" " * 8
            result[start + 148 : start + 156] = f"{sum(result[start : start + 512]):06o}\0 ".encode()
    return bytes(result)


def tar_of(files: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, body in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))
    return file.getvalue()


def packed(tar: bytes) -> bytes:
    return gzip.compress(tar, 1, mtime=0)


CIFAR = tar_of({f"cifar-10-batches-bin/{name}": records(1, number) for number, name in enumerate(FILES)})
CIFAR_DAMAGED = "a CIFAR archive is damaged or made up"


def test_undamaged_archives_are_read(reader: Reader, imagenet: dict[str, bytes]) -> None:
    train, test = reader.read("cifar", packed(CIFAR))
    assert train != test
    assert [len(reader.read(kind, imagenet[kind])) for kind in ("train", "test")] == [12, 6]


@many(4000)
@given(damages)
def test_a_damaged_gzip_gives_the_right_images_or_a_message(reader: Reader, fault: Fault, damages: Damages) -> None:
    with fault(CIFAR_DAMAGED):
        found = reader.read("cifar", damaged(packed(CIFAR), damages))
        assert found in (None, RIGHT.setdefault("cifar", reader.read("cifar", packed(CIFAR))))


RIGHT: dict[str, Any] = {}  # what the undamaged files hold


@many(4000)
@given(damages)
def test_a_damaged_tar_within_a_sound_gzip_gives_images_or_a_message(
    reader: Reader, fault: Fault, damages: Damages
) -> None:
    with fault(CIFAR_DAMAGED):
        reader.read("cifar", packed(damaged(CIFAR, damages)))


@many(3000)
@given(headers)
def test_made_up_headers_give_images_or_a_message(reader: Reader, fault: Fault, headers: Headers) -> None:
    with fault(CIFAR_DAMAGED):
        reader.read("cifar", packed(reheaded(CIFAR, headers)))


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("imagenet")
    tars = make_tars(make_folder(folder / "images"), folder / "tars")
    names = {"train": TRAIN_TAR, "test": TEST_TAR}
    return {kind: (tars / name).read_bytes() for kind, name in names.items()}


@many(4000)
@given(st.sampled_from(["train", "test"]), damages | headers)
def test_a_damaged_tar_of_imagenet_gives_members_within_it_or_a_message(
    reader: Reader, fault: Fault, imagenet: dict[str, bytes], kind: str, change: Any
) -> None:
    whole = imagenet[kind]
    tar = damaged(whole, change) if isinstance(change[0][0], str) else reheaded(whole, change)
    with fault("an ImageNet tar is damaged or made up"):
        members = reader.read(kind, tar) or []
        assert len({(wnid, name) for wnid, name, _, _ in members}) == len(members)
        assert all(name.isprintable() and "/" not in name for _, name, _, _ in members)
        assert all(size >= 0 and offset >= 512 and offset + size <= len(tar) for _, _, size, offset in members)
