"""Whether a copy of a data set is an accepted one: told by SHA-256, before anything in it is parsed.

The accepted digests stand in config/experiments.yaml, under `datasets.NAME.archives`: change them there.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from eps_resnet.data import folder, own
from eps_resnet.data.source import file_name, kind_of_file, kind_of_folder
from eps_resnet.experiments.models import Archive, DataSet
from eps_resnet.files.digests import sha256
from eps_resnet.files.errors import UserError


def accepted_copy(name: str, data: DataSet, path: Path) -> Archive:
    """Which accepted copy lies at `path`. Raises UserError, with the digests expected and found, if none does."""
    if data.format in own.FORMATS:
        return _own(name, data, path)
    return _unpacked(name, data, path) if path.is_dir() else _packed(name, data, path)


def _own(name: str, data: DataSet, path: Path) -> Archive:
    """A user's own data, told by its bytes; of a folder, by names and bytes of its images."""
    is_folder = data.format == "folder"
    if not is_folder and not path.is_file():
        raise UserError(f"There is no file at {path}; data set {name} was to be read from it.")
    found = folder.digest(path) if is_folder else sha256(path)
    if copy := _with_digest(data, found):
        return copy
    what = "names and images" if is_folder else "file"
    wanted = " or ".join(str(archive.sha256) for archive in data.archives)
    raise UserError(
        f"{path} is not the data that was added as {name}: the SHA-256 of its {what} is {found}, expected {wanted}. "
        "Give it as it was, or add it under another name."
    )


def _packed(name: str, data: DataSet, path: Path) -> Archive:
    if not path.is_file():
        raise UserError(f"There is no archive or folder at {path}; data set {name} was to be read from it.")
    archives = [archive for archive in data.archives if archive.sha256]
    if not archives:
        raise UserError(f"{path} is a file; data set {name} is read from a folder with {', '.join(_files(data))}.")
    found = sha256(path)
    if copy := _with_digest(data, found):
        return copy
    wanted = ", ".join(f"{archive.sha256} ({archive.name})" for archive in archives)
    raise UserError(
        f"{path} is not an accepted copy of {name}: SHA-256 {found} ({path.stat().st_size} bytes), expected {wanted}."
        f"{kind_of_file(path) or ' It may be truncated, altered or another file.'} {_needed(data)} It was left as it "
        "is."
    )


def _unpacked(name: str, data: DataSet, path: Path) -> Archive:
    files = _files(data)
    whole = [archive.name for archive in data.archives if not archive.files]
    only = f" Copy {', '.join(map(repr, whole))} is only accepted as its archive, not unpacked." if whole else ""
    missing = [file for file in files if not (path / file).is_file()]
    if missing or not files:
        lacks, kind = ", ".join(missing) or "known files", kind_of_folder(path, files, _published(data))
        raise UserError(
            f"Folder {path} is not an unpacked copy of {name}: it has no {lacks}.{kind} {_needed(data)}{only}"
        )
    found = {file: sha256(path / file) for file in files}
    copies = [archive for archive in data.archives if archive.files]
    for archive in copies:
        if archive.files == found:
            return archive
    raise UserError(
        f"Folder {path} is no accepted copy of {name}: {differing(found, [copy.files for copy in copies], 'SHA-256')}."
        f"{only} Nothing in it was read. A file may be truncated or another one of that name: get it anew."
    )


def differing(found: Mapping[str, str], accepted: Sequence[Mapping[str, str]], kind: str) -> str:
    """Which files have another digest than any accepted copy gives them, in words."""
    wanted = {name: [digests[name] for digests in accepted if name in digests] for name in found}
    wrong = [
        f"{name} has {kind} {digest}, expected {' or '.join(wanted[name])}"
        for name, digest in found.items()
        if digest not in wanted[name]
    ]
    return "; ".join(wrong) or "its files are of different copies"


def _with_digest(data: DataSet, found: str) -> Archive | None:
    return next((archive for archive in data.archives if archive.sha256 == found), None)


def _files(data: DataSet) -> list[str]:
    """The files of unpacked copies."""
    return sorted({file for archive in data.archives for file in archive.files})


def _published(data: DataSet) -> list[str]:
    """What the accepted archives are called where they are published."""
    return [file_name(url) for archive in data.archives for url in archive.urls if archive.sha256]


def _needed(data: DataSet) -> str:
    if not (archives := _published(data)):
        return f"Needed is {', '.join(_files(data))}."
    forms = "as an archive or unpacked" if all(a.files for a in data.archives if a.urls) else "not unpacked"
    return f"Needed is {' or '.join(archives)}, {forms}."
