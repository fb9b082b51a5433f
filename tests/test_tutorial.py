"""docs/tutorial.md: its commands, as they stand there, lead from a folder of images to an ONNX file and a page."""

import re
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from eps_resnet.data import store
from eps_resnet.experiments.layout import Layout
from eps_resnet.files.atomic import read_json
from tests.conftest import PROJECT, copy_project, run
from tests.data.own_copies import make_folder

TUTORIAL = (PROJECT / "docs/tutorial.md").read_text()


def commands() -> list[list[str]]:
    """The lines of its shell blocks, in order."""
    blocks = re.findall(r"```sh\n(.*?)```", TUTORIAL, re.S)
    return [line.split() for block in blocks for line in block.splitlines()]


def first_look(registry_file: Path) -> None:
    """The edit that it tells the reader to make: the line of YAML takes the place of the one with its key."""
    (line,) = re.findall(r"```yaml\n(.*?)\n```", TUTORIAL, re.S)
    text, count = re.subn(r"(?<=\n  pets:)(.*?\n) +epochs: [^\n]*", rf"\1{line}", registry_file.read_text(), flags=re.S)
    assert count == 1
    registry_file.write_text(text)


@pytest.mark.slow
def test_the_commands_lead_from_a_folder_of_images_to_a_pruned_onnx_file_and_a_page(tmp_path: Path) -> None:
    copy_project(tmp_path)
    shutil.copy(PROJECT / "config/experiments.yaml", tmp_path / "config")
    (tmp_path / "docs/images").mkdir(parents=True)
    shutil.copy(PROJECT / "docs/fidelity.md", tmp_path / "docs")
    make_folder(tmp_path / "pets", train=80, test=40)
    (first, *others) = commands()
    run(tmp_path, *first)
    first_look(tmp_path / "config/experiments.yaml")
    for command in others:
        run(tmp_path, *command)
    page = (tmp_path / "paper_tables/index.html").read_text()
    assert "pets-56-epsilon_side-2p5-s0" in page
    for name in ("figure6-pets", "figure7-pets"):
        assert (tmp_path / "paper_tables" / name / "figure.svg").exists()
    images, metrics = (
        store.load(Layout(tmp_path), "pets"),
        read_json(tmp_path / "results/pets-56-epsilon_side-2p5-s0/metrics.json"),
    )
    logits = onnxruntime.InferenceSession(tmp_path / "pets.onnx").run(None, {"images": images.test_images.numpy()})[0]
    wrong = np.mean(logits.argmax(1) != images.test_labels.numpy())
    assert wrong == pytest.approx(metrics["error"]["pruned"])
