"""Gets a data set: its official address, a mirror, a local archive or an unpacked folder, verifies it, stores it."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from eps_resnet.data import cifar, digits, folder, imagenet, manifest, npz, store, subset, svhn
from eps_resnet.data.accepted_digests import accepted_copy
from eps_resnet.data.download import download
from eps_resnet.data.manifest import DataManifest
from eps_resnet.data.source import file_name, is_address, kind_of_file, located
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
    archive, images = _read(layout, name, data, source)
    for split, labels, expected in (
        ("training", images.train_labels, archive.train_images),
        ("test", images.test_labels, archive.test_images),
    ):
        if len(labels) != expected:
            raise UserError(f"{name} has {len(labels)} {split} images, copy {archive.name!r} should have {expected}.")
    has_versions = data.format in (*subset.FILES, *OWN)
    version: dict[str, Any] = {"size": data.size, "validation": data.validation} if has_versions else {}
    return store.save(layout, name, vars(images), archive, **version)


def _read(layout: Layout, name: str, data: DataSet, source: str | None) -> tuple[Archive, Images]:
    """The images of an accepted copy, as the registry takes them, and which copy it is."""
    if data.format == "digits":
        if source is not None:
            raise UserError(f"Data set {name} comes with a library; it cannot be read from {source}.")
        return data.archives[0], digits.read(data.archives[0])
    if source is None or is_address(source):
        path, archive = _downloaded(layout, name, data, source)
    else:
        path, archive = Path(source), accepted_copy(name, data, Path(source))
    if data.format in OWN:
        return archive, _own(name, data, path)
    images = READERS[data.format](path)
    return archive, subset.taken(name, data, archive, images) if data.format in subset.FILES else images


def _own(name: str, data: DataSet, path: Path) -> Images:
    """The images of a user's own data. Raises UserError if they have other channels or classes than the registry."""
    images = OWN[data.format](path, data.size)
    found = {"channels": images.train_images.shape[1], "classes": int(images.train_labels.max()) + 1}
    expected = {"channels": data.channels, "classes": data.classes}
    if differing := [f"{found[k]} {k}, the registry has {expected[k]}" for k in found if found[k] != expected[k]]:
        raise UserError(f"{path} has {' and '.join(differing)}; correct that in the entry of {name}.")
    return images


def _downloaded(layout: Layout, name: str, data: DataSet, source: str | None) -> tuple[Path, Archive]:
    """Where a verified copy lies after it was downloaded, and which copy it is; addresses are tried in turn."""
    alternatives = _alternatives(data, source)
    if data.format == "folder" or not alternatives:
        kind = "folder" if data.format == "folder" else "file"
        raise UserError(
            f"Data set {name} has no address to be downloaded from; give its {kind} on this machine: "
            f"`eps-resnet fetch {name} --from PATH`, or `snakemake ... --config {name}=PATH`."
        )
    failures = []
    for addresses in alternatives:
        try:
            return _download(layout, name, data, addresses)
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


def _download(layout: Layout, name: str, data: DataSet, addresses: list[str]) -> tuple[Path, Archive]:
    """Downloads one archive, or several files into one folder, and verifies it. What is wrong is deleted again."""
    several = len(addresses) > 1
    folder = layout.downloads / name if several else layout.downloads
    for url in addresses:
        path = folder / file_name(url)
        digests = [archive.files.get(path.name) if several else archive.sha256 for archive in data.archives]
        _download_verified(url, path, [digest for digest in digests if digest])
    place = folder if several else path
    return place, accepted_copy(name, data, place)


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
