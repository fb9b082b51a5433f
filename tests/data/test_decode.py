"""JPEG files decoded: every kind of image either becomes what Pillow makes of it, or is refused by its name."""

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.io import encode_png, write_jpeg

from eps_resnet.data.decode import UndecodableError, decoded, undecodable
from eps_resnet.data.listing import Split, ends_of, text_of
from eps_resnet.files.errors import UserError


def split_of(folder: Path) -> Split:
    """All files of a folder as a split."""
    files = sorted(folder.iterdir())
    names = text_of([file.name for file in files])
    sizes = torch.tensor([file.lstat().st_size for file in files])
    return Split(names, ends_of(names), sizes, torch.zeros(len(files)), folder, None)


def picture(seed: int = 0) -> Image.Image:
    """A smooth picture in colour."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((40, 30), Image.Resampling.BICUBIC)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def test_grey_images_and_a_png_with_the_wrong_name_become_rgb(tmp_path: Path) -> None:
    image = torch.randint(256, (3, 20, 20), dtype=torch.uint8)
    write_jpeg(image[:1], str(tmp_path / "grey.JPEG"))
    (tmp_path / "png.JPEG").write_bytes(bytes(encode_png(image).tolist()))  # ImageNet has one such
    split = split_of(tmp_path)
    assert [decoded(split, i).shape for i in range(2)] == [(3, 20, 20)] * 2
    assert undecodable(split) == []


ROTATED = Image.Exif()
ROTATED[0x0112] = 6
USABLE = {
    "rgb": saved(picture(), "JPEG"),
    "grey": saved(picture().convert("L"), "JPEG"),
    "cmyk": saved(picture().convert("CMYK"), "JPEG"),
    "progressive": saved(picture(), "JPEG", progressive=True),
    "exif": saved(picture(), "JPEG", exif=ROTATED),
    "alpha": saved(picture().convert("RGBA"), "PNG"),
    "palette": saved(picture().convert("P"), "PNG"),
    "bit": saved(picture().convert("1"), "PNG"),
    "gif": saved(picture().convert("P"), "GIF"),
    "webp": saved(picture(), "WEBP", lossless=True),
    "apng": saved(picture(), "PNG", save_all=True, append_images=[picture(1)]),
    "garbage after it": saved(picture(), "JPEG") + b"garbage",
}


@pytest.mark.parametrize("kind", USABLE)
def test_what_is_no_rgb_jpeg_is_converted_as_pillow_converts_it(kind: str, tmp_path: Path) -> None:
    (tmp_path / "a.JPEG").write_bytes(USABLE[kind])
    expected = np.asarray(Image.open(io.BytesIO(USABLE[kind])).convert("RGB"))
    assert decoded(split_of(tmp_path), 0).permute(1, 2, 0).numpy().tolist() == expected.tolist()


SIXTEEN = Image.fromarray(np.arange(1200, dtype=np.uint16).reshape(30, 40) * 50)
UNUSABLE = {
    "animated gif": saved(picture().convert("P"), "GIF", save_all=True, append_images=[picture(1).convert("P")]),
    "animated webp": saved(picture(), "WEBP", save_all=True, append_images=[picture(1)]),
    "16 bits": saved(SIXTEEN, "PNG"),
    "bmp": saved(picture(), "BMP"),
    "tiff": saved(picture(), "TIFF"),
    "half": USABLE["rgb"][: len(USABLE["rgb"]) // 2],
    "header": USABLE["rgb"][:50],
    "empty": b"",
    "html": b"<html>404 Not Found</html>",
}


@pytest.mark.parametrize("kind", UNUSABLE)
def test_what_is_no_8_bit_rgb_image_in_one_frame_is_refused_by_its_name(kind: str, tmp_path: Path) -> None:
    (tmp_path / "a.JPEG").write_bytes(USABLE["rgb"])
    (tmp_path / "b.JPEG").write_bytes(UNUSABLE[kind])
    split = split_of(tmp_path)
    assert undecodable(split) == [1]
    with pytest.raises(UndecodableError, match=r"^Image b\.JPEG in .*(be decoded|8-bit RGB in one frame)"):
        decoded(split, 1)


@pytest.mark.parametrize("kind", ["missing", "pipe", "folder"])
def test_a_file_that_cannot_be_read_is_not_taken_for_an_undecodable_image(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "a.JPEG"
    file.write_bytes(USABLE["rgb"])
    split = split_of(tmp_path)
    file.unlink()
    if kind == "pipe":
        os.mkfifo(file)
    if kind == "folder":
        file.mkdir()
    with pytest.raises(UserError, match=r"^Image a\.JPEG cannot be read from .*a\.JPEG: \w"):
        undecodable(split)
