"""What a user gives as a data set's source: an address, or what lies on the disk, told by what it is."""

import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from eps_resnet.experiments.layout import expanded
from eps_resnet.files.errors import UserError, some

WEB = ("http://", "https://")
BEGINNING = 512  # bytes that tell a file's kind; what is not accepted is read no further
LISTED = 5  # names that a message lists
KINDS = (
    (re.compile(rb"PK\x03\x04|PK\x05\x06"), "a ZIP archive, as Kaggle and GitHub pack them"),
    (re.compile(rb"\s*<(!doctype|html|\?xml)", re.I), "a web page, which servers send instead of a file"),
    (re.compile(rb"version https://git-lfs"), "a pointer of Git LFS: `git lfs pull` gets the file itself"),
    (re.compile(rb"\x80[\x02-\x05]"), "a pickle of Python"),
    (re.compile(rb"BZh|\xfd7zXZ\x00|7z\xbc\xaf\x27\x1c|Rar!"), "packed otherwise"),
    (re.compile(rb".{257}ustar", re.S), "a tar that is no longer gzipped: a browser or `gunzip` unpacked it"),
)
OTHERS = {  # a part of the name of an archive or of a file in a folder: what it is
    "cifar-10-python": "the Python version",
    "cifar-100-python": "the Python version",
    "cifar-10-matlab": "the MATLAB version",
    "cifar-100-matlab": "the MATLAB version",
}
FOREIGN = {  # a file in a folder: what that folder is
    "batches.meta": "the Python version",
    "meta": "the Python version",
    "batches.meta.mat": "the MATLAB version",
    "meta.mat": "the MATLAB version",
    "train.tar.gz": "SVHN's format 1, whole house numbers",
    "digitStruct.mat": "SVHN's format 1, whole house numbers",
}


def located(source: str) -> str:
    """An http or https address with its scheme in small letters, or a path without `~` and file://.

    Raises UserError for addresses of another kind, which nothing here can read.
    """
    scheme, separator, rest = source.partition("://")
    if not source.strip():
        raise UserError("--from names nothing; expected an http:// or https:// address, an archive or a folder.")
    if not separator or not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*", scheme):
        return str(expanded(Path(source)))
    scheme = scheme.lower()
    if scheme == "file":
        address = urlsplit(f"file://{rest}")
        if address.netloc not in ("", "localhost"):
            raise UserError(f"{source} names a file of {address.netloc}; expected file:///PATH on this machine.")
        return unquote(address.path)
    if f"{scheme}://" not in WEB:
        raise UserError(
            f"Nothing here reads {scheme}:// addresses; expected http:// or https://, an archive or a folder. Copy it "
            "to this machine first, then give its path."
        )
    return f"{scheme}://{rest}"


def is_address(source: str) -> bool:
    """Whether a located source is to be downloaded."""
    return source.startswith(WEB)


def file_name(address: str) -> str:
    """What the file at an address is called. Raises UserError if the address does not end in a file's name."""
    try:
        name = PurePosixPath(urlsplit(address).path).name
    except ValueError:
        name = ""
    if name in ("", "..") or not name.isprintable():
        raise UserError("the address does not end in a file's name")
    return name


def kind_of_file(path: Path) -> str:
    """What a file that is not accepted is, as a sentence, if its name or its first bytes tell."""
    with path.open("rb") as file:
        beginning = file.read(BEGINNING)
    kinds = [kind for part, kind in OTHERS.items() if part in path.name]
    kinds += [kind for pattern, kind in KINDS if pattern.match(beginning)]
    if not beginning:
        kinds = ["empty"]
    return f" It is {kinds[0]}." if kinds else ""


def kind_of_folder(path: Path, wanted: Iterable[str], archives: Iterable[str]) -> str:
    """What a folder without the wanted files is or holds, as a sentence."""
    names = set(wanted)
    there = sorted(entry.name for entry in path.iterdir() if not entry.name.startswith("."))
    for name in there:
        if name in archives:
            return f" It holds {name}: give that file, --from {path / name}."
        if names and (path / name).is_dir() and all((path / name / file).is_file() for file in names):
            return f" Its folder {name} has them: give that one, --from {path / name}."
    for name in there:
        if name in FOREIGN:
            return f" It is {FOREIGN[name]}."
    return f" It holds {some([ascii(name)[1:-1] for name in there], LISTED)}." if there else " It is empty."
