"""SVHN's three files: order, the label of the digit 0, the official addresses, and what other files are told."""

import http.server
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.io import savemat

from eps_resnet.data import store, svhn
from eps_resnet.data.fetch import fetch
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.registry import Registry
from eps_resnet.files.digests import sha256
from eps_resnet.files.errors import UserError

FILES = (*svhn.TRAIN_FILES, *svhn.TEST_FILES)
COUNTS = dict(zip(FILES, (5, 3, 4), strict=True))


def content(count: int, seed: int = 0) -> dict[str, Any]:
    draw = np.random.default_rng(seed)
    pixels = draw.integers(256, size=(32, 32, 3, count), dtype=np.uint8)
    return {"X": pixels, "y": draw.integers(1, 11, size=(count, 1), dtype=np.uint8)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three small files in the official layout."""
    path = tmp_path / "svhn"
    path.mkdir()
    for seed, (name, count) in enumerate(COUNTS.items()):
        savemat(path / name, content(count, seed), do_compression=True)
    return path


def accepting(experiments: Registry, folder: Path, address: str = "") -> Registry:
    """The registry with these files as the one accepted copy of SVHN, to be had at an address."""
    data = experiments.datasets["svhn"]
    files = {name: sha256(folder / name) for name in FILES}
    counts = {"train_images": 8, "test_images": 4}
    copy = data.archives[0].model_copy(
        update={"files": files, "urls": tuple(f"{address}/{name}" for name in FILES), **counts}
    )
    datasets = {"svhn": data.model_copy(update={"archives": (copy,)})}
    return experiments.model_copy(update={"datasets": datasets})


def test_train_and_extra_are_the_training_images_in_this_order_and_label_10_is_the_digit_0(
    experiments: Registry, folder: Path, tmp_path: Path
) -> None:
    fetch(accepting(experiments, folder), Layout(tmp_path), "svhn", str(folder))
    images = store.load(Layout(tmp_path), "svhn")
    train, extra = (content(COUNTS[name], seed) for seed, name in enumerate(svhn.TRAIN_FILES))
    for i in range(8):
        source, n = (train, i) if i < 5 else (extra, i - 5)
        assert torch.equal(images.train_images[i], torch.tensor(source["X"][..., n].transpose(2, 0, 1).copy()))
        assert int(images.train_labels[i]) == source["y"][n, 0] % 10
    assert len(images.test_labels) == 4


@pytest.fixture
def server(folder: Path) -> Iterator[str]:
    """The folder served at an address of this machine."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as http_server:
        thread = threading.Thread(target=http_server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{http_server.server_port}"
        http_server.shutdown()
        thread.join()


@pytest.mark.parametrize("given_by_user", [False, True])
def test_all_three_files_are_downloaded_from_the_official_addresses_or_a_mirror(
    experiments: Registry, folder: Path, tmp_path: Path, server: str, given_by_user: bool
) -> None:
    registry = accepting(experiments, folder, "http://127.0.0.1:9" if given_by_user else server)
    manifest = fetch(registry, Layout(tmp_path / "web"), "svhn", server if given_by_user else None)
    assert manifest == fetch(registry, Layout(tmp_path / "local"), "svhn", str(folder))


def test_a_wrong_file_is_refused_and_deleted_before_anything_is_parsed_and_the_others_are_kept(
    experiments: Registry, folder: Path, tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = accepting(experiments, folder, server)
    good = (folder / "extra_32x32.mat").read_bytes()
    (folder / "extra_32x32.mat").write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    with monkeypatch.context() as patch:
        patch.setattr(svhn, "parse", lambda _: pytest.fail("parsed an unverified file"))
        with pytest.raises(UserError, match=r"extra_32x32\.mat has SHA-256 \w+, expected"):
            fetch(registry, Layout(tmp_path), "svhn")
    kept = Layout(tmp_path).downloads / "svhn"
    assert [path.name for path in kept.iterdir()] == ["train_32x32.mat"]
    (folder / "extra_32x32.mat").write_bytes(good)
    assert fetch(registry, Layout(tmp_path), "svhn").train_images == 8


def test_a_folder_that_lacks_a_file_is_told_which(experiments: Registry, folder: Path, tmp_path: Path) -> None:
    (folder / "extra_32x32.mat").unlink()
    with pytest.raises(UserError, match=r"it has no extra_32x32\.mat"):
        fetch(experiments, Layout(tmp_path), "svhn", str(folder))
    with pytest.raises(UserError, match=r"is a file; data set svhn is read from a folder with extra_32x32\.mat, test_"):
        fetch(experiments, Layout(tmp_path), "svhn", str(folder / "train_32x32.mat"))


GOOD = content(3)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"images": GOOD["X"], "y": GOOD["y"]}, "has no X, but images, y; expected SVHN's format 2"),
        ({"digitStruct": np.zeros(3)}, "has no X and no y, but digitStruct"),
        ({"X": GOOD["X"][..., :2], "y": GOOD["y"]}, r"has X \(32, 32, 3, 2\) of type uint8 and y \(3, 1\)"),
        ({"X": GOOD["X"][:28], "y": GOOD["y"]}, r"has X \(28, 32, 3, 3\)"),
        ({"X": GOOD["X"][..., 0], "y": GOOD["y"]}, r"has X \(32, 32, 3\)"),
        ({"X": GOOD["X"].astype(float), "y": GOOD["y"]}, r"has X \(32, 32, 3, 3\) of type float64"),
        ({"X": GOOD["X"], "y": np.array([[1], [0], [10]])}, "has the label 0"),
        ({"X": GOOD["X"], "y": np.array([[1], [11], [10]])}, "has the label 11"),
    ],
)
def test_a_mat_file_of_another_form_is_told_what_is_wrong(tmp_path: Path, wrong: dict[str, Any], message: str) -> None:
    savemat(tmp_path / "train_32x32.mat", wrong)
    with pytest.raises(UserError, match=message):
        svhn.parse([tmp_path / "train_32x32.mat"])


def test_the_real_sample_is_an_accepted_copy_that_says_how_it_differs(
    experiments: Registry, real_data: Path, tmp_path: Path
) -> None:
    manifest = fetch(experiments, Layout(tmp_path), "svhn", str(real_data / "svhn"))
    images = store.load(Layout(tmp_path), "svhn")
    assert (manifest.copy, len(images.train_labels), len(images.test_labels)) == ("sample", 554, 486)
    assert "small sample" in (manifest.differs or "")
    assert sorted(images.train_labels.unique().tolist()) == list(range(10))
