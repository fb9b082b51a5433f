"""Gets a data set: its official address, a mirror, a local archive or an unpacked folder, verifies it, stores it."""

from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from eps_resnet.data import cifar, digits, folder, imagenet, manifest, npz, store, subset, svhn
from eps_resnet.data.download import download
from eps_resnet.data.manifest import DataManifest
from eps_resnet.data.source import is_address, kind_of_file, kind_of_folder, located
from eps_resnet.data.store import Images
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.models import Archive, DataSet
from eps_resnet.experiments.registry import Registry
from eps_resnet.files import lock
from eps_resnet.files.digests import sha256
from eps_resnet.files.errors import UserError

READERS: dict[str, Callable[[Path], Images]] = {
    "cifar10": partial(cifar.read, cifar.CIFAR10),
    "cifar100": partial(cifar.read, cifar.CIFAR100),
    "svhn": svhn.read,
}
OWN: dict[str, Callable[[Path, int], Images]] = {"npz": npz.read, "folder": folder.read}  # in the registry's size


def fetch(registry: Registry, layout: Layout, name: str, source: str | None = None) -> DataManifest:
    """Fetches, verifies and stores a data set. `source`: a URL, an archive or a folder; None for the official address.

    Without a source, images that are there and right are not fetched again. Of several processes one fetches, and the
    others wait for it. Digests are checked against the registry before anything is parsed. Raises UserError if nothing
    acceptable can be had, naming what was expected and what was found; whatever was stored before stays.
    """
    data = registry.dataset(name)
    source = None if source is None else located(source)
    folder = layout.store(name).parent
    with lock.held(folder / f".{name}.lock", f"Data set {name}"):
        for remains in folder.glob(f".{name}.*.part"):  # of processes that were killed while they wrote
            remains.unlink()
        present = _present(layout, name, data) if source is None else None
        return present or _fetch(layout, name, data, source)


def _present(layout: Layout, name: str, data: DataSet) -> DataManifest | None:
    """The manifest of a store that is whole and of an accepted copy; None if it must be made anew."""
    stored, files = manifest.read(layout, name), [layout.store(name)]
    if data.format == "imagenet":
        files.append(layout.image_location(name))
    if stored is None or not manifest.is_accepted(stored, data) or not all(file.exists() for file in files):
        return None
    return stored if sha256(files[0]) == stored.sha256 else None


def _fetch(layout: Layout, name: str, data: DataSet, source: str | None) -> DataManifest:
    if data.format == "imagenet":
        return imagenet.fetch(layout, name, data, source)
    if data.format == "digits":
        if source is not None:
            raise UserError(f"Data set {name} comes with a library; it cannot be read from {source}.")
        archive = data.archives[0]
        images = digits.read(archive)
    else:
        path, archive = _obtain(name, data, layout, source)
        images = _own(name, data, path) if data.format in OWN else READERS[data.format](path)
    version: dict[str, Any] = {}
    if data.format in subset.FILES:
        images = subset.taken(name, data, archive, images)
    if data.format in subset.FILES or data.format in OWN:
        version = {"size": data.size, "validation": data.validation}
    for split, labels, expected in (
        ("training", images.train_labels, archive.train_images),
        ("test", images.test_labels, archive.test_images),
    ):
        if len(labels) != expected:
            raise UserError(f"{name} has {len(labels)} {split} images, copy {archive.name!r} should have {expected}.")
    return store.save(layout, name, vars(images), archive, **version)


def _own(name: str, data: DataSet, path: Path) -> Images:
    """The images of a user's own data. Raises UserError if they have other channels or classes than the registry."""
    images = OWN[data.format](path, data.size)
    found = {"channels": images.train_images.shape[1], "classes": int(images.train_labels.max()) + 1}
    expected = {"channels": data.channels, "classes": data.classes}
    if differing := [
        f"{found[key]} {key}, the registry has {expected[key]}" for key in found if found[key] != expected[key]
    ]:
        raise UserError(f"{path} has {' and '.join(differing)}; correct that in the entry of {name}.")
    return images


def _obtain(name: str, data: DataSet, layout: Layout, source: str | None) -> tuple[Path, Archive]:
    if source is not None and not is_address(source):
        if data.format in OWN:
            return _verify_own(name, data, Path(source))
        return _verify_local(name, data.archives, Path(source))
    if data.format == "folder" or (source is None and not any(archive.urls for archive in data.archives)):
        kind = "folder" if data.format == "folder" else "file"
        raise UserError(
            f"Data set {name} has no address to be downloaded from; give its {kind} on this machine: "
            f"`eps-resnet fetch {name} --from PATH`, or `snakemake ... --config {name}=PATH`."
        )
    failures = []
    alternatives = _alternatives(data, source)
    if not alternatives:
        raise UserError(
            f"The registry has no address to download {name} from. Say where it is: `eps-resnet fetch {name} --from "
            f"PATH_OR_URL`, or `snakemake ... --config {name}=PATH_OR_URL`."
        )
    for addresses in alternatives:
        try:
            return _download(name, data.archives, layout, addresses)
        except UserError as error:
            failures.append(f"  {', '.join(addresses)}: {error}")
    raise UserError(
        f"Data set {name} could not be downloaded:\n" + "\n".join(failures) + f"\nGive an archive, an unpacked folder "
        f"or another address: `eps-resnet fetch {name} --from PATH`, or `snakemake ... --config {name}=PATH`."
    )


def _alternatives(data: DataSet, source: str | None) -> list[list[str]]:
    """Addresses to try in turn. Each is one archive, or all files of a data set that is published as several files."""
    files = [file for file in data.archives[0].files if data.archives[0].sha256 is None]
    if source is not None:
        return [[f"{source.rstrip('/')}/{file}" for file in files] or [source]]
    official = [archive.urls for archive in data.archives if archive.urls]
    return [list(urls) for urls in official] if files else [[url] for urls in official for url in urls]


def _download(name: str, accepted: tuple[Archive, ...], layout: Layout, addresses: list[str]) -> tuple[Path, Archive]:
    """Downloads one archive, or several files into one folder, and verifies it. What is wrong is deleted again."""
    several = len(addresses) > 1
    folder = layout.downloads / name if several else layout.downloads
    for url in addresses:
        file = _file_name(url)
        path = folder / file
        _download_verified(url, path, _wanted(accepted, file) if several else [a.sha256 for a in accepted if a.sha256])
    return _verify_local(name, accepted, folder if several else path)


def _file_name(url: str) -> str:
    try:
        name = PurePosixPath(urlsplit(url).path).name
    except ValueError:
        name = ""
    if name in ("", "..") or not name.isprintable():
        raise UserError("the address does not end in a file's name")
    return name


def _download_verified(url: str, path: Path, wanted: list[str]) -> None:
    """Downloads a file that is not there yet. What is wrong is deleted, so that the next attempt begins anew."""
    is_patched = path.exists() or download(url, path)
    found = sha256(path)
    if found not in wanted and is_patched:  # the beginning may be to blame
        path.unlink()
        download(url, path)
        found = sha256(path)
    if found not in wanted:
        size, kind = path.stat().st_size, kind_of_file(path)
        path.unlink()
        raise UserError(
            f"{path.name} has SHA-256 {found}, expected {' or '.join(wanted)}; its {size} bytes were deleted "
            f"again.{kind}"
        )


def _wanted(accepted: tuple[Archive, ...], file: str) -> list[str]:
    return [archive.files[file] for archive in accepted if file in archive.files]


def _verify_own(name: str, data: DataSet, path: Path) -> tuple[Path, Archive]:
    """A user's own data, told by its bytes; of a folder, by names and bytes of its images."""
    if data.format == "npz" and not path.is_file():
        raise UserError(f"There is no file at {path}; data set {name} was to be read from it.")
    found = folder.digest(path) if data.format == "folder" else sha256(path)
    for archive in data.archives:
        if archive.sha256 == found:
            return path, archive
    of, wanted = (
        "names and images" if data.format == "folder" else "file",
        [archive.sha256 for archive in data.archives],
    )
    raise UserError(
        f"{path} is not the data that was added as {name}: the SHA-256 of its {of} is {found}, expected "
        f"{' or '.join(map(str, wanted))}. Give it as it was, or add it under another name."
    )


def _verify_local(name: str, accepted: tuple[Archive, ...], path: Path) -> tuple[Path, Archive]:
    if path.is_dir():
        return _verify_folder(name, accepted, path)
    if not path.is_file():
        raise UserError(f"There is no archive or folder at {path}; data set {name} was to be read from it.")
    archives = [archive for archive in accepted if archive.sha256]
    if not archives:
        raise UserError(f"{path} is a file; data set {name} is read from a folder with {_listed(accepted)}.")
    found = sha256(path)
    for archive in archives:
        if archive.sha256 == found:
            return path, archive
    wanted = ", ".join(f"{archive.sha256} ({archive.name})" for archive in archives)
    raise UserError(
        f"{path} is not an accepted copy of {name}: SHA-256 {found} ({path.stat().st_size} bytes), expected {wanted}."
        f"{kind_of_file(path) or ' It may be truncated, altered or another file.'} {_needed(accepted)} It was left as "
        "it is."
    )


def _archives(accepted: tuple[Archive, ...]) -> list[str]:
    """What the accepted archives are called where they are published."""
    return [_file_name(url) for archive in accepted for url in archive.urls if archive.sha256]


def _needed(accepted: tuple[Archive, ...]) -> str:
    needed = _archives(accepted)
    unpacked = (
        ", as an archive or unpacked"
        if all(archive.files for archive in accepted if archive.urls)
        else ", not unpacked"
    )
    return f"Needed is {' or '.join(needed)}{unpacked}." if needed else f"Needed is {_listed(accepted)}."


def _listed(accepted: tuple[Archive, ...]) -> str:
    return ", ".join(sorted({file for archive in accepted for file in archive.files}))


def _verify_folder(name: str, accepted: tuple[Archive, ...], path: Path) -> tuple[Path, Archive]:
    names = {file for archive in accepted for file in archive.files}
    whole = [archive.name for archive in accepted if not archive.files]
    only = f" Copy {', '.join(map(repr, whole))} is only accepted as its archive, not unpacked." if whole else ""
    missing = sorted(file for file in names if not (path / file).is_file())
    if missing or not names:
        lacks = ", ".join(missing) or "known files"
        kind = kind_of_folder(path, names, _archives(accepted))
        raise UserError(
            f"Folder {path} is not an unpacked copy of {name}: it has no {lacks}.{kind} {_needed(accepted)}{only}"
        )
    found = {file: sha256(path / file) for file in names}
    for archive in accepted:
        if archive.files and archive.files == found:
            return path, archive
    wrong = sorted(file for file in names if found[file] not in _wanted(accepted, file))
    differing = [f"{file} has SHA-256 {found[file]}, expected {' or '.join(_wanted(accepted, file))}" for file in wrong]
    raise UserError(
        f"Folder {path} is no accepted copy of {name}: {'; '.join(differing) or 'its files are of different copies'}."
        f"{only} Nothing in it was read. A file may be truncated or another one of that name: get it anew."
    )
