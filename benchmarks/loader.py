"""How many ImageNet images one CPU core prepares in a second. Usage: python benchmarks/loader.py FOLDER [SECONDS]

FOLDER holds JPEG files at any depth. They are timed as they are and, since samples are often reduced, again after
enlarging them to 500x375 pixels, the size that most of ImageNet's have. Prints a table; one core, files in memory.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torchvision.io import ImageReadMode, decode_image, encode_jpeg
from torchvision.transforms.v2 import functional as vision

from eps_resnet.experiments import registry
from eps_resnet.experiments.models import AreaCrop
from eps_resnet.method.inputs.jpeg import area_crop, recoloured, test_image, training_image
from eps_resnet.method.streams import stream

FULL = (375, 500)  # height and width of a typical image of ImageNet, in pixels
QUALITY = 100  # of the enlarged JPEGs: enlarging smooths, so that files of lower quality would be too small
FILES = 64  # evenly spaced among those there are
DATA = registry.load(Path("config/experiments.yaml")).datasets["imagenet"]
AUGMENTATION, SIZE = DATA.recipe.augmentation, DATA.size


def decoded(content: Tensor) -> Tensor:
    """An image, uint8 (3, H, W), from the bytes of its file."""
    image: Tensor = decode_image(content, ImageReadMode.RGB)
    return image


def enlarged(content: Tensor) -> Tensor:
    """The bytes of the same image at full size."""
    larger: Tensor = encode_jpeg(vision.resize(decoded(content), list(FULL)), QUALITY)
    return larger


def per_second(work: Callable[[int], object], seconds: float) -> float:
    """How often work(0), work(1), ... run in a second of one core's time, whatever else the machine does."""
    started, count = time.process_time(), 0
    while time.process_time() - started < seconds:
        work(count % FILES)
        count += 1
    return count / (time.process_time() - started)


def speeds(contents: list[Tensor], seconds: float) -> list[float]:
    """Images a second and core: decoded, cropped, recoloured, all of a training image, all of a test image."""
    area = cast(AreaCrop, AUGMENTATION.area)
    images = [decoded(content) for content in contents]
    crops = [area_crop(image, area, SIZE, stream(0, "loader")) for image in images]
    steps: list[Callable[[int], object]] = [
        lambda i: decoded(contents[i]),
        lambda i: area_crop(images[i], area, SIZE, stream(i, "loader")),
        lambda i: recoloured(crops[i], AUGMENTATION, stream(i, "loader")),
        lambda i: training_image(decoded(contents[i]), AUGMENTATION, SIZE, stream(i, "loader")),
        lambda i: test_image(decoded(contents[i]), area, SIZE),
    ]
    return [per_second(step, seconds) for step in steps]


def main() -> None:
    """Times each step and prints the table."""
    torch.set_num_threads(1)
    paths = sorted(Path(sys.argv[1]).rglob("*.JPEG"))
    if len(paths) < FILES:
        raise SystemExit(f"{sys.argv[1]} has {len(paths)} JPEG files; at least {FILES} are needed.")
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 5.0
    chosen = [paths[i * len(paths) // FILES] for i in range(FILES)]
    files = [torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8) for path in chosen]
    columns = ("kB each", "decode", "crop", "colour", "training image", "test image")
    table = Table("images", *columns, title="images per second and core")
    for name, contents in (("as they are", files), (f"{FULL[1]}x{FULL[0]}", [enlarged(file) for file in files])):
        size = sum(len(content) for content in contents) / FILES / 1000
        table.add_row(name, f"{size:.0f}", *(f"{speed:,.0f}" for speed in speeds(contents, seconds)))
    Console().print(table)


if __name__ == "__main__":
    main()
