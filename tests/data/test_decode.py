"""JPEG files decoded, and work done by worker processes."""

import os
import signal
from pathlib import Path

import pytest
import torch
from torchvision.io import encode_png, write_jpeg

from eps_resnet.data.decode import decoded, undecodable
from eps_resnet.data.imagenet import Split
from eps_resnet.data.listing import ends_of, text_of
from eps_resnet.method.inputs.jpeg import in_workers


def test_grey_images_and_a_png_with_the_wrong_name_become_rgb(tmp_path: Path) -> None:
    image = torch.randint(256, (3, 20, 20), dtype=torch.uint8)
    write_jpeg(image[:1], str(tmp_path / "grey.JPEG"))
    (tmp_path / "png.JPEG").write_bytes(bytes(encode_png(image).tolist()))  # ImageNet has one such
    files = ["grey.JPEG", "png.JPEG"]
    names = text_of(files)
    sizes = torch.tensor([(tmp_path / name).stat().st_size for name in files])
    split = Split(names, ends_of(names), sizes, torch.zeros(2), tmp_path, None)
    assert [decoded(split, i).shape for i in range(2)] == [(3, 20, 20)] * 2
    assert undecodable(split) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_work_comes_back_in_order_whatever_the_number_of_workers(workers: int) -> None:
    assert list(in_workers(lambda step: step * step, range(7), workers)) == [0, 1, 4, 9, 16, 25, 36]


def test_workers_go_on_where_a_cluster_asks_all_processes_to_stop() -> None:
    assert list(in_workers(lambda step: (os.kill(os.getpid(), signal.SIGTERM), step)[1], range(7), 2)) == [*range(7)]
