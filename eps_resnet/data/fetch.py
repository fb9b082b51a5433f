"""Gets a data set: its official address, a mirror, a local archive or an unpacked folder, verifies it, stores it."""

from collections.abc import Callable
from pathlib import Path

import pooch
import requests

from eps_resnet.data import cifar10, digits, store
from eps_resnet.data.manifest import DataManifest
from eps_resnet.data.store import Images
from eps_resnet.errors import UserError
from eps_resnet.files import sha256
from eps_resnet.layout import Layout
from eps_resnet.registry import Archive, Registry

READERS: dict[str, Callable[[Archive, Path | None], Images]] = {
    "digits": digits.read,
    "cifar10": cifar10.read,
}
EMBEDDED = "digits"  # the format that comes with a library and needs no source


def fetch(registry: Registry, layout: Layout, name: str, source: str | None = None) -> DataManifest:
    """Fetches, verifies and stores a data set. `source`: a URL, an archive or a folder; None for the official address.

    The SHA-256 is checked against the registry before anything is parsed. Raises UserError if nothing acceptable can
    be had, naming what was expected and what was found; whatever was stored before stays.
    """
    data = registry.dataset(name)
    reader = READERS.get(data.format)
    if reader is None:
        raise UserError(f"Data set {name} cannot be fetched yet: its reader is not part of this release.")
    if data.format == EMBEDDED:
        if source is not None:
            raise UserError(f"Data set {name} comes with a library; it cannot be read from {source}.")
        return store.save(layout, name, reader(data.archives[0], None), data.archives[0])
    path, archive = _obtain(name, data.archives, layout, source)
    return store.save(layout, name, reader(archive, path), archive)


def _obtain(name: str, accepted: tuple[Archive, ...], layout: Layout, source: str | None) -> tuple[Path, Archive]:
    if source is not None and not source.startswith(("http://", "https://")):
        return _verify_local(name, accepted, Path(source))
    addresses = [source] if source else [url for archive in accepted for url in archive.urls]
    failures = []
    for url in addresses:
        try:
            return _download(name, accepted, layout, url)
        except (requests.RequestException, ValueError, UserError) as error:
            failures.append(f"  {url}: {error if isinstance(error, UserError) else type(error).__name__}")
    raise UserError(
        f"Data set {name} could not be downloaded:\n" + "\n".join(failures) + f"\nGive an archive, an unpacked folder "
        f"or another address: `eps-resnet fetch {name} --from PATH`, or `snakemake ... --config {name}=PATH`."
    )


def _download(name: str, accepted: tuple[Archive, ...], layout: Layout, url: str) -> tuple[Path, Archive]:
    file = url.rsplit("/", 1)[-1]
    if not file:
        raise UserError("the address does not end in a file's name")
    path = Path(pooch.retrieve(url, known_hash=None, path=layout.downloads, fname=file))
    try:
        return _verify_local(name, accepted, path)
    except UserError:
        path.unlink()  # so that the next attempt downloads it anew
        raise


def _verify_local(name: str, accepted: tuple[Archive, ...], path: Path) -> tuple[Path, Archive]:
    if path.is_dir():
        return _verify_folder(name, accepted, path)
    if not path.is_file():
        raise UserError(f"There is no archive or folder at {path}; data set {name} was to be read from it.")
    found = sha256(path)
    for archive in accepted:
        if archive.sha256 == found:
            return path, archive
    wanted = ", ".join(f"{archive.sha256} ({archive.name})" for archive in accepted if archive.sha256)
    raise UserError(
        f"{path} is not an accepted copy of {name}: SHA-256 {found} ({path.stat().st_size} bytes), expected {wanted}. "
        f"It may be truncated or altered; delete it and fetch it again."
    )


def _verify_folder(name: str, accepted: tuple[Archive, ...], path: Path) -> tuple[Path, Archive]:
    names = {file for archive in accepted for file in archive.files}
    missing = sorted(file for file in names if not (path / file).is_file())
    if missing or not names:
        raise UserError(
            f"Folder {path} is not an unpacked copy of {name}: it has no {', '.join(missing) or 'known files'}."
        )
    found = {file: sha256(path / file) for file in names}
    for archive in accepted:
        if archive.files == found:
            return path, archive
    wrong = sorted(file for file in names if all(a.files.get(file) != found[file] for a in accepted))
    raise UserError(
        f"Folder {path} is not an accepted copy of {name}: wrong SHA-256 of {', '.join(wrong) or 'some files'}."
    )
