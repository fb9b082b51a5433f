"""Exported programs: what a run's pruned network says of real images, any number at once; and nothing that differs."""

import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from eps_resnet import cli
from eps_resnet.data import store
from eps_resnet.data.fetch import fetch
from eps_resnet.experiments import registry
from eps_resnet.experiments.experiment import Experiment
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.models import Run
from eps_resnet.experiments.registry import Registry
from eps_resnet.files import tensors
from eps_resnet.files.digests import sha256
from eps_resnet.files.errors import UserError
from eps_resnet.method.inputs.jpeg import MEAN
from eps_resnet.method.inputs.open import open_batches
from eps_resnet.method.networks.architecture import architecture_of
from eps_resnet.method.networks.resnet import ResNet, initialise
from eps_resnet.method.predict import predict
from eps_resnet.method.streams import stream
from eps_resnet.runs import export as module
from eps_resnet.runs.export import FORMATS, Classifier, compare, export
from eps_resnet.runs.networks import load_pruned, prune_run
from tests.conftest import PROJECT, change
from tests.data.imagenet_copies import accepting, make_folder

KEY = "digits-8-epsilon_side-2p5-s0"
CPU = torch.device("cpu")
SUFFIXES = pytest.mark.parametrize("suffix", list(FORMATS))


@pytest.fixture(scope="module")
def collapsed(_trained_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    """A run whose training is rewritten as if the first block of its second stage had collapsed, and pruned."""
    folder = shutil.copytree(_trained_once, tmp_path_factory.mktemp("collapsed"), dirs_exist_ok=True)
    experiment = registry.load(folder / "experiments.yaml").experiment(KEY, Layout(folder))
    weights, facts = tensors.read(experiment.files.model, "")
    tensors.write(experiment.files.model, weights, {**facts, "discarded": [False, True, False]})
    change(experiment.files.manifest, model_sha256=sha256(experiment.files.model))
    prune_run(experiment)
    return experiment


@pytest.fixture(scope="module")
def written(collapsed: Experiment, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The run's program by suffix, each alone in its folder."""
    paths = {suffix: tmp_path_factory.mktemp("written") / f"network{suffix}" for suffix in FORMATS}
    for path in paths.values():
        assert export(collapsed, path).startswith("128 test images, in one batch and alone: the classes are")
    return paths


def opened(path: Path) -> Callable[[Tensor], Tensor]:
    """The program in a file, without anything of this package."""
    if path.suffix == ".pt2":
        return torch.export.load(path).module()
    session = onnxruntime.InferenceSession(path)
    return lambda images: torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])


@SUFFIXES
def test_a_program_puts_raw_images_into_the_classes_of_the_evaluation_however_many_at_once(
    collapsed: Experiment, written: dict[str, Path], suffix: str
) -> None:
    network = load_pruned(collapsed)
    assert network.architecture.kept == ((0,), (), (0,))
    assert list(written[suffix].parent.iterdir()) == [written[suffix]]  # the weights are inside
    run, images = opened(written[suffix]), store.load(collapsed.layout, "digits").test_images
    expected = predict(network, open_batches(collapsed, CPU))
    assert images.dtype == torch.uint8
    for size in (1, 7, 360):
        found = torch.cat([run(batch) for batch in torch.split(images, size)])
        assert torch.equal(found.argmax(1), expected.classes)
        assert not found.requires_grad


def test_the_command_says_what_it_compared(collapsed: Experiment, tmp_path: Path) -> None:
    root = collapsed.layout.root
    options = ["--root", str(root), "--registry", str(root / "experiments.yaml")]
    said = CliRunner().invoke(cli.app, ["export", KEY, str(tmp_path / "network.pt2"), *options], catch_exceptions=False)
    assert said.stderr.startswith(f"{tmp_path}/network.pt2: 128 test images, in one batch and alone: the ")


@SUFFIXES
def test_an_exported_file_names_no_folder_of_the_machine(written: dict[str, Path], suffix: str) -> None:
    content = written[suffix].read_bytes()
    for folder in (PROJECT, Path(torch.__file__).parent):
        assert str(folder).encode() not in content


def test_the_batch_of_an_onnx_file_is_its_only_free_size(written: dict[str, Path]) -> None:
    session = onnxruntime.InferenceSession(written[".onnx"])
    (images,), (logits,) = session.get_inputs(), session.get_outputs()
    assert (images.name, images.type, images.shape) == ("images", "tensor(uint8)", ["batch", 1, 8, 8])
    assert (logits.name, logits.type, logits.shape) == ("logits", "tensor(float)", ["batch", 10])
    with pytest.raises(Exception, match="Unexpected input data type"):  # of pixels from 0 to 1, for instance
        session.run(None, {"images": np.zeros((1, 1, 8, 8), "float32")})


@pytest.mark.slow
def test_imagenets_program_holds_its_normalisation_by_colour(
    experiments: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry, run = accepting(experiments), Run(dataset="imagenet", depth=14, method="epsilon_side", epsilon=2.0)
    experiment = registry.experiment_of(run, Layout(tmp_path))
    fetch(registry, experiment.layout, "imagenet", str(make_folder(tmp_path / "images")))
    whole = architecture_of(experiment)
    kept = {0, 1}  # so the third and the fourth stage are skips with projections
    network = ResNet(whole.without([index not in kept for index in range(sum(map(len, whole.kept)))]))
    initialise(network, "variance_scaling", stream(0, "weights"))
    files = experiment.files
    tensors.write(files.model, {"mean_image": 255 * torch.tensor(MEAN).reshape(3, 1, 1)}, {})
    digest = sha256(files.model)
    tensors.write(files.pruned, network.state_dict(), {"model_sha256": digest, "kept": network.architecture.kept})
    monkeypatch.setattr(module, "require_unaltered", lambda _: None)  # there is no manifest, as nothing was trained
    assert export(experiment, tmp_path / "network.onnx").startswith("6 test images")


def with_other_mean(load: Callable[..., Classifier]) -> Callable[..., Classifier]:
    def changed(*arguments: object) -> Classifier:
        classifier = load(*arguments)
        classifier.mean += 20
        return classifier

    return changed


def test_a_program_that_disagrees_is_not_written_and_what_was_there_stays(
    collapsed: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "network.pt2").write_text("as it was")
    monkeypatch.setattr(module, "load", with_other_mean(module.load))
    for name in ("network.pt2", "other.pt2"):
        with pytest.raises(UserError, match=r"was not written.*was expected, but of 128 test images.*make setup"):
            export(collapsed, tmp_path / name)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("network.pt2", "as it was")]


@pytest.mark.parametrize("broken", ["export", "onnxruntime"])
def test_an_exporter_or_a_runtime_that_fails_leaves_a_sentence_and_no_file(
    collapsed: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no such operator\nand a page of details")

    owner, name = (torch.onnx, "export") if broken == "export" else (onnxruntime, "InferenceSession")
    monkeypatch.setattr(owner, name, fail)
    with pytest.raises(UserError, match=r"was expected, but no such operator\. `make setup`"):
        export(collapsed, tmp_path / "network.onnx")
    assert not list(tmp_path.iterdir())


def test_one_other_class_a_logit_too_far_and_no_number_are_refused() -> None:
    expected, images = torch.tensor([[1.0, 8.0], [3.0, 2.0], [4.0, 4.00001]]), torch.arange(3)
    assert "at most 6e-05 of the largest" in compare(lambda i: expected[i] + 0.0005, images, expected)
    for wrong, message in (
        (expected + torch.tensor([0, 0.002]), "0 are put into another class.*0.00025 of the largest"),
        (expected + torch.tensor([0.0001, 0]), "1 are put into another class"),
        (torch.where(expected == 8, torch.nan, expected), "0 are put .* differ by nan"),
    ):
        with pytest.raises(UserError, match=message):
            compare(wrong.__getitem__, images, expected)
    with pytest.raises(UserError, match="in batches of 1, "):  # right together, wrong alone
        compare(lambda i: expected[i] + (len(i) == 1), images, expected)


def test_what_is_missing_is_named_with_its_remedy(
    collapsed: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = replace(collapsed, layout=Layout(tmp_path / "empty"))
    with pytest.raises(UserError, match=r"network\.h5 ends in none of \.onnx, \.pt2"):
        export(collapsed, tmp_path / "network.h5")
    with pytest.raises(UserError, match=r"no file .*model\.safetensors; run `eps-resnet train"):
        export(empty, tmp_path / "network.pt2")
    empty.files.folder.mkdir(parents=True)
    for name in ("model", "manifest"):
        getattr(empty.files, name).write_bytes(getattr(collapsed.files, name).read_bytes())
    with pytest.raises(UserError, match=r"no file .*pruned\.safetensors; run `eps-resnet prune"):
        export(empty, tmp_path / "network.pt2")
    empty.files.pruned.write_bytes(collapsed.files.pruned.read_bytes())
    with pytest.raises(UserError, match=r"Data set digits is not at .*run `eps-resnet fetch digits`"):
        export(empty, tmp_path / "network.pt2")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # as if it were not installed
    with pytest.raises(UserError, match=r"network\.onnx was not written: .* onnxruntime .*`make setup` installs"):
        export(collapsed, tmp_path / "network.onnx")
    assert list(tmp_path.iterdir()) == [empty.layout.root]
