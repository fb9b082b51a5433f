"""Small copies of ImageNet for the tests: folders and tars in the official layouts, of drawn images."""

import io
import tarfile
from hashlib import md5
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.io import savemat
from torchvision.io import encode_jpeg

from eps_resnet.data.imagenet import DEVKIT, TEST_TAR, TRAIN_TAR
from eps_resnet.experiments.models import Archive
from eps_resnet.experiments.registry import Registry

CLASSES = ("n01440764", "n02102040", "n03000684")
TRAIN, TEST = 4, 2  # images of each class


def jpeg(seed: int, height: int = 40, width: int = 50) -> bytes:
    """A smooth random picture."""
    draw = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 4, 4, generator=draw) * 255
    pixels = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")[0].to(torch.uint8)
    return bytes(encode_jpeg(pixels, quality=90).tolist())


def make_folder(path: Path) -> Path:
    """train/<class>/ and val/<class>/ with their images. The validation images' names follow no class."""
    for number, wnid in enumerate(CLASSES):
        for split, count in (("train", TRAIN), ("val", TEST)):
            (path / split / wnid).mkdir(parents=True)
            for i in range(count):
                name = f"{wnid}_{i * 7}.JPEG" if split == "train" else f"ILSVRC2012_val_0000000{i * 3 + number}.JPEG"
                (path / split / wnid / name).write_bytes(jpeg(100 * number + 10 * i + (split == "val")))
    return path


def make_tars(folder: Path, path: Path) -> Path:
    """The same images as the three official archives: tars in a tar, a flat tar, and the development kit."""
    path.mkdir()
    with tarfile.open(path / TRAIN_TAR, "w") as outer:
        for wnid in reversed(CLASSES):  # the order inside must not matter
            inner = io.BytesIO()
            with tarfile.open(fileobj=inner, mode="w") as tar:
                for file in sorted((folder / "train" / wnid).iterdir(), reverse=True):
                    tar.add(file, file.name)
            _add(outer, f"{wnid}.tar", inner.getvalue())
    validation = sorted((file.name, file) for file in (folder / "val").glob("*/*.JPEG"))
    with tarfile.open(path / TEST_TAR, "w") as tar:
        for name, file in reversed(validation):
            tar.add(file, name)
    ids = {wnid: 3 - number for number, wnid in enumerate(CLASSES)}  # not in the order of the names
    synsets = np.array([(ids[wnid], wnid) for wnid in CLASSES], dtype=[("ILSVRC2012_ID", "O"), ("WNID", "O")])
    meta = io.BytesIO()
    savemat(meta, {"synsets": synsets[:, None]})
    truth = "".join(f"{ids[file.parent.name]}\n" for _, file in validation)
    with tarfile.open(path / DEVKIT, "w:gz") as tar:
        _add(tar, "ILSVRC2012_devkit_t12/data/meta.mat", meta.getvalue())
        _add(tar, "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt", truth.encode())
    return path


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def accepting(experiments: Registry, tars: Path | None = None, **changes: Any) -> Registry:
    """The registry with the small copy as the one accepted copy of ImageNet, and its images 32 pixels wide."""
    data = experiments.datasets["imagenet"]
    digests = (
        {name: md5((tars / name).read_bytes()).hexdigest() for name in (TRAIN_TAR, TEST_TAR, DEVKIT)} if tars else {}
    )
    counts = {"classes": len(CLASSES), "train_images": TRAIN * len(CLASSES), "test_images": TEST * len(CLASSES)}
    copy = Archive(name="official", md5=digests, **{**counts, **changes})
    area = data.recipe.augmentation.area.model_copy(update={"test_short_side": 36})  # type: ignore[union-attr]
    augmentation = data.recipe.augmentation.model_copy(update={"area": area})
    recipe = data.recipe.model_copy(update={"augmentation": augmentation, "batch": 4, "epoch_steps": 5})
    small = data.model_copy(update={"archives": (copy,), "classes": len(CLASSES), "size": 32, "recipe": recipe})
    return experiments.model_copy(update={"datasets": {"imagenet": small}})
