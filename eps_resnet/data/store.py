"""The stored form of a data set: tensors in one memory-mapped file, and a manifest with its digest."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from eps_resnet.data.manifest import DataManifest, read, write
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.models import Archive
from eps_resnet.files import tensors
from eps_resnet.files.digests import sha256
from eps_resnet.files.errors import UserError


@dataclass(frozen=True)
class Images:
    """Images (N, C, H, W) and labels (N,) of both splits, all uint8, in stored order."""

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor


def save(
    layout: Layout,
    dataset: str,
    stored: dict[str, Tensor],
    archive: Archive,
    corrupt: Sequence[str] = (),
    **version: Any,
) -> DataManifest:
    """Stores a data set, the images themselves or a listing of them, and writes its manifest.

    Equal tensors of one copy give equal bytes. `corrupt` names images of the copy that were left out; `version` is
    what `DataManifest` says of smaller versions and of images that stay outside.
    """
    path = layout.store(dataset)
    tensors.write(path, stored, {"copy": archive.name} | ({"corrupt": corrupt} if corrupt else {}))
    left_out = f"{len(corrupt)} corrupt images left out" if corrupt else None
    manifest = DataManifest(
        dataset=dataset,
        copy=archive.name,
        copy_sha256=archive.sha256,
        differs="; ".join(filter(None, (archive.differs, left_out))) or None,
        train_images=archive.train_images,
        test_images=archive.test_images,
        sha256=sha256(path),
        **version,
    )
    write(layout, manifest)
    return manifest


def load(layout: Layout, dataset: str) -> Images:
    """The stored images, memory-mapped. Raises UserError if they are missing or not what the manifest says."""
    return Images(**verified(layout, dataset, fetch_command(layout, dataset)))


def verified(layout: Layout, dataset: str, fetch: str) -> dict[str, Tensor]:
    """The stored tensors. Raises UserError, which says to `fetch`, if they are missing or not as the manifest says."""
    path, expected = layout.store(dataset), read(layout, dataset)
    if expected is None or not path.exists():
        raise UserError(f"Data set {dataset} is not at {path}; {fetch}.")
    if (found := sha256(path)) != expected.sha256:
        raise UserError(
            f"{path} was altered: SHA-256 {found}, manifest says {expected.sha256}; delete it, then {fetch}."
        )
    return tensors.read(path, f"delete it, then {fetch}")[0]


def fetch_command(layout: Layout, dataset: str, options: str = "") -> str:
    """What a message tells to run where a data set is missing."""
    return f"run `eps-resnet fetch {dataset}{options}`" + (
        "" if layout.root == Path() else f" with --root {layout.root}"
    )
