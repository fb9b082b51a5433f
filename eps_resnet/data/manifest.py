"""data/<name>.json: which accepted copy a data set comes from, and the digest of its stored form."""

from dataclasses import asdict, dataclass

from eps_resnet.files import read_json, write_json
from eps_resnet.layout import Layout


@dataclass(frozen=True)
class DataManifest:
    """The origin of a stored data set. `differs`: how the copy differs from the official release, or None."""

    dataset: str
    copy: str
    copy_sha256: str | None
    differs: str | None
    train_images: int
    test_images: int
    sha256: str


def write(layout: Layout, manifest: DataManifest) -> None:
    """Writes the manifest of a data set."""
    write_json(layout.data_manifest(manifest.dataset), asdict(manifest))


def read(layout: Layout, dataset: str) -> DataManifest | None:
    """The manifest of a data set, or None if it has not been fetched or the manifest is damaged."""
    document = read_json(layout.data_manifest(dataset))
    try:
        return DataManifest(**document)
    except TypeError:
        return None


def data_digest(layout: Layout, dataset: str) -> str | None:
    """SHA-256 of the stored images, from the manifest; None if the data set has not been fetched."""
    manifest = read(layout, dataset)
    return None if manifest is None else manifest.sha256
