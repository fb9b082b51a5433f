"""data/<name>.json: which accepted copy a data set comes from, and the digest of its stored form."""

from dataclasses import asdict, dataclass

from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.models import DataSet
from eps_resnet.files.atomic import read_json, write_json


@dataclass(frozen=True)
class DataManifest:
    """The origin of a stored data set. `differs`: how the copy differs from the official release, or None.

    Written only where they mean something: `sample_sha256`, digest of a sample of the images, where they stay outside
    the store (ImageNet); `size` in pixels and `validation` (the test images are training images), where a registry may
    take a smaller version of a copy (`data/subset.py`, or a user's own data).
    """

    dataset: str
    copy: str
    copy_sha256: str | None
    differs: str | None
    train_images: int
    test_images: int
    sha256: str
    sample_sha256: str | None = None
    size: int | None = None
    validation: bool | None = None


def write(layout: Layout, manifest: DataManifest) -> None:
    """Writes the manifest of a data set."""
    unused = {name for name in ("sample_sha256", "size", "validation") if getattr(manifest, name) is None}
    document = {name: value for name, value in asdict(manifest).items() if name not in unused}
    write_json(layout.data_manifest(manifest.dataset), document)


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


def is_accepted(manifest: DataManifest, dataset: DataSet) -> bool:
    """Whether the stored images are those that the registry takes of a copy that it accepts."""
    version = (manifest.size, manifest.validation)
    if version != (None, None) and version != (dataset.size, dataset.validation):
        return False
    stored = (manifest.copy, manifest.copy_sha256, manifest.train_images, manifest.test_images)
    return any(stored == (a.name, a.sha256, a.train_images, a.test_images) for a in dataset.archives)
