"""CIFAR-10 and CIFAR-100 in their official binary layouts: an archive, or the folder it was unpacked to.

Which copies are accepted, by their SHA-256, the registry says: config/experiments.yaml, `archives`.
"""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from eps_resnet.data.archive import contents
from eps_resnet.data.store import Images
from eps_resnet.files.errors import UserError

PIXELS = 3 * 32 * 32  # the red, green and blue planes, after the label bytes
UNPACKED = 256 << 20  # the most bytes that an archive may unpack to; the official ones hold 184 MB


class Binary(NamedTuple):
    """One of the two layouts. The last label byte is the class; CIFAR-100 has a coarse label before it."""

    title: str
    train_files: tuple[str, ...]
    test_files: tuple[str, ...]
    label_bytes: int
    classes: int

    @property
    def record(self) -> int:
        """Bytes of one image and its labels."""
        return self.label_bytes + PIXELS


CIFAR10 = Binary("CIFAR-10", tuple(f"data_batch_{i}.bin" for i in range(1, 6)), ("test_batch.bin",), 1, 10)
CIFAR100 = Binary("CIFAR-100", ("train.bin",), ("test.bin",), 2, 100)


def read(layout: Binary, path: Path) -> Images:
    """Reads a verified archive, or the folder it was unpacked to. Raises UserError if a file is missing or damaged."""
    names = layout.train_files + layout.test_files
    if path.is_dir():
        files = {name: (path / name).read_bytes() for name in names}
    else:
        files = contents(path, names, UNPACKED, f"the official binary layout of {layout.title}")
    train = parse(layout, b"".join(files[name] for name in layout.train_files))
    test = parse(layout, b"".join(files[name] for name in layout.test_files))
    return Images(*train, *test)


def parse(layout: Binary, records: bytes) -> tuple[Tensor, Tensor]:
    """Records to images (N, 3, 32, 32) and labels (N,), both uint8. Raises UserError if one is cut or mislabelled."""
    if not records or len(records) % layout.record:
        raise UserError(
            f"{layout.title} records have {layout.record} bytes each; {len(records)} bytes are no whole number of them."
        )
    table = torch.frombuffer(bytearray(records), dtype=torch.uint8).reshape(-1, layout.record)
    labels = table[:, layout.label_bytes - 1].clone()
    if int(labels.max()) >= layout.classes:
        raise UserError(f"{layout.title} labels are 0 to {layout.classes - 1}; found {int(labels.max())}.")
    return table[:, layout.label_bytes :].reshape(-1, 3, 32, 32).contiguous(), labels
