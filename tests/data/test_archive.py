"""Hostile archives: each kind of member that could do harm is refused, and so is whatever is damaged or too large."""

import gzip
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from eps_resnet.data import archive, imagenet
from eps_resnet.data.archive import contents
from eps_resnet.files.errors import UserError

WANTED = ("a.bin", "b.bin")
GOOD = {"a.bin": b"a" * 1000, "b.bin": b"b" * 512}
MOST = 1 << 20
WHAT = "the layout of this test"


def member(name: str, content: bytes = b"", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


def plain() -> list[tuple[tarfile.TarInfo, bytes]]:
    return [member("folder", type=tarfile.DIRTYPE), *(member(f"folder/{n}", content) for n, content in GOOD.items())]


def tar_of(members: list[tuple[tarfile.TarInfo, bytes]], form: int = tarfile.GNU_FORMAT) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


def before_the_end() -> bytes:
    """The plain members without the blocks that end a tar."""
    return tar_of(plain())[: 512 + 1536 + 1024]


def written(path: Path, tar: bytes) -> Path:
    path.write_bytes(gzip.compress(tar, mtime=0))
    return path


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_wanted_files_come_out_whatever_else_is_there(tmp_path: Path, form: int) -> None:
    others = [member("folder/readme.html", b"x" * 5000), member("folder/" + "long" * 20 + "/c.bin", b"c")]
    path = written(tmp_path / "tar.gz", tar_of([*others, *plain()], form))
    assert contents(path, WANTED, MOST, WHAT) == GOOD


HOSTILE = {
    "an absolute path": (member("/etc/passwd", b"x"), r"'/etc/passwd' lies outside"),
    "a path upwards": (member("folder/../../x", b"x"), r"'folder/\.\./\.\./x' lies outside"),
    "a symbolic link": (member("folder/x", type=tarfile.SYMTYPE, linkname="/etc/passwd"), "is a symbolic link"),
    "a hard link": (member("folder/c.bin", type=tarfile.LNKTYPE, linkname="folder/a.bin"), "is a hard link"),
    "a character device": (member("folder/x", type=tarfile.CHRTYPE, devmajor=1, devminor=5), "is a device"),
    "a block device": (member("folder/x", type=tarfile.BLKTYPE, devmajor=8), "is a device"),
    "a named pipe": (member("folder/x", type=tarfile.FIFOTYPE), "is a named pipe"),
    "an unknown kind": (member("folder/x", type=b"Z"), "is of a special kind"),
    "a line break in a name": (member("folder/x\ny", b"x"), "has control characters"),
    "broken UTF-8 in a name": (member("folder/\udcff", b"x"), "has control characters or broken UTF-8"),
    "a wanted file twice": (member("other/a.bin", b"x"), r"has 'a\.bin' twice"),
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("is_first", [True, False])
def test_a_hostile_member_is_refused_wherever_it_stands(tmp_path: Path, kind: str, is_first: bool) -> None:
    hostile, message = HOSTILE[kind]
    members = [hostile, *plain()] if is_first else [*plain(), hostile]
    with pytest.raises(UserError, match=message):
        contents(written(tmp_path / "tar.gz", tar_of(members)), WANTED, MOST, WHAT)


def test_a_sparse_file_is_refused(tmp_path: Path) -> None:
    sparse = member("folder/x", b"", pax_headers={"GNU.sparse.map": "0,1", "GNU.sparse.size": "1000000000000"})
    path = written(tmp_path / "tar.gz", tar_of([*plain(), sparse], tarfile.PAX_FORMAT))
    with pytest.raises(UserError, match="of a special kind"):
        contents(path, WANTED, MOST, WHAT)


def bomb_member() -> bytes:
    return tar_of([*plain(), member("folder/zeros", bytes(2 * MOST))])


def bomb_after_the_end() -> bytes:
    return tar_of(plain()) + bytes(2 * MOST)


def many_members() -> bytes:
    return tar_of([*plain(), *(member(f"folder/{i}") for i in range(3000))])


def huge_claim() -> bytes:
    info, _ = member("folder/zeros")
    info.size = 1 << 50
    return before_the_end() + info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize("bomb", [bomb_member, bomb_after_the_end, many_members, huge_claim])
def test_a_bomb_is_refused(tmp_path: Path, bomb: Callable[[], bytes]) -> None:
    with pytest.raises(UserError, match=r"holds more than 1048576 bytes|more than the archive may hold"):
        contents(written(tmp_path / "tar.gz", bomb()), WANTED, MOST, WHAT)


def long_name() -> bytes:
    return tar_of([member("folder/" + "x" * 100_000), *plain()])


def long_pax_header() -> bytes:
    return tar_of([member("folder/x", pax_headers={"comment": "x" * 100_000}), *plain()], tarfile.PAX_FORMAT)


def headers_without_a_file() -> bytes:
    header = tar_of([member("folder/" + "x" * 200)])[:1024]
    return header * 2000 + tar_of(plain())


@pytest.mark.parametrize("headers", [long_name, long_pax_header, headers_without_a_file])
def test_headers_beyond_the_bound_are_refused_before_they_are_read(
    tmp_path: Path, headers: Callable[[], bytes]
) -> None:
    with pytest.raises(UserError, match=f"more than {archive.HEADERS} bytes of headers before a file"):
        contents(written(tmp_path / "tar.gz", headers()), WANTED, MOST, WHAT)


def negative_size() -> bytes:
    info, _ = member("folder/x")
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[124:136] = (-1024).to_bytes(12, "big", signed=True)
    header[148:156] = b" " * 8
    header[148:156] = f"{sum(header):06o}\0 ".encode()
    return before_the_end() + bytes(header) + bytes(1024)


def test_a_negative_size_does_not_lead_round_in_circles(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has -1024 bytes"):
        contents(written(tmp_path / "tar.gz", negative_size()), WANTED, MOST, WHAT)


@pytest.mark.parametrize("place", [0, 99, 201, 1 << 50])
def test_what_reads_a_tar_can_move_neither_back_nor_beyond_its_end(place: int) -> None:
    file = io.BytesIO(bytes(300))
    file.seek(100)
    with pytest.raises(tarfile.ReadError, match="does not follow"):
        archive._Source(file, 200).seek(place)


def test_a_damaged_header_is_not_taken_for_the_end(tmp_path: Path) -> None:
    tar = bytearray(tar_of([*plain(), member("folder/c.bin", b"c")]))
    tar[tar.index(b"folder/c.bin")] ^= 1
    with pytest.raises(UserError, match="no header at byte"):
        contents(written(tmp_path / "tar.gz", bytes(tar)), WANTED, MOST, WHAT)


@pytest.mark.parametrize("cut", [1, 5, 9, 100, 0.5])
def test_a_cut_archive_is_refused(tmp_path: Path, cut: float) -> None:
    path = written(tmp_path / "tar.gz", tar_of(plain()))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * cut)] if cut < 1 else whole[: -int(cut)])
    with pytest.raises(UserError, match="is damaged or not"):
        contents(path, WANTED, MOST, WHAT)


@pytest.mark.parametrize("content", [b"", b"\0", b"text", bytes(4096), b"\x1f\x8b", tar_of(plain())])
def test_what_is_no_gzipped_tar_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(UserError):
        contents(tmp_path / "file", WANTED, MOST, WHAT)


def test_the_disks_own_errors_are_not_taken_for_a_damaged_archive(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        contents(tmp_path / "nowhere", WANTED, MOST, WHAT)


def test_an_inner_tar_of_imagenet_cannot_reach_beyond_its_own_end(tmp_path: Path) -> None:
    inner = tar_of([member("n1_1.JPEG", b"j" * 5000)])[:3000]
    outer = tar_of([member("n1.tar", inner), member("n2.tar", tar_of([member("n2_1.JPEG", b"j" * 5000)]))])
    (tmp_path / "outer.tar").write_bytes(outer)
    with pytest.raises(UserError, match=r"'n1_1\.JPEG' has 5000 bytes, more than the archive may hold"):
        list(imagenet._train_members(tmp_path / "outer.tar"))


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_members_of_imagenets_tars_are_refused(tmp_path: Path, kind: str) -> None:
    hostile, message = HOSTILE[kind]
    good, evil = tar_of([member("n1_1.JPEG", b"j")]), tar_of([member("a.bin.JPEG", b"j"), hostile])
    if kind == "a wanted file twice":
        evil = tar_of([member("n1_1.JPEG", b"j"), member("./n1_1.JPEG", b"j")])
        message = "twice"
    for name, tar in (("inner", tar_of([member("n1.tar", good), member("n2.tar", evil)])), ("outer", evil)):
        (tmp_path / name).write_bytes(tar)
    with pytest.raises(UserError, match=message):
        list(imagenet._train_members(tmp_path / "inner"))
    with pytest.raises(UserError, match=message):
        list(imagenet._test_members(tmp_path / "outer", ["n1", "n1"]))
