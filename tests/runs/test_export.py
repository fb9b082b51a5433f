"""Exported programs: what a run's pruned network says of real images, any number at once; and nothing that differs."""

from collections.abc import Callable
from importlib import util
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from eps_resnet.method.train import train
from torch import Tensor

from eps_resnet import cli
from eps_resnet.data import store
from eps_resnet.data.fetch import fetch
from eps_resnet.experiments import registry
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.registry import Registry, recipe_of
from eps_resnet.files import tensors
from eps_resnet.files.atomic import write_json
from eps_resnet.files.digests import sha256
from eps_resnet.files.errors import UserError
from eps_resnet.measure.prune import load_pruned, prune_run
from eps_resnet.method.inputs.jpeg import MEAN
from eps_resnet.method.inputs.open import open_batches
from eps_resnet.method.networks.architecture import architecture_of
from eps_resnet.method.networks.resnet import ResNet, initialise
from eps_resnet.method.predict import predict
from eps_resnet.method.streams import stream
from eps_resnet.runs import export as module
from eps_resnet.runs.export import FORMATS, Classifier, compare, export
from tests.conftest import PROJECT, change, small_registry
from tests.data.imagenet_copies import accepting, make_folder

KEY = "digits-8-epsilon_side-2p5-s0"
CPU = torch.device("cpu")
Finished = tuple[Registry, Layout]
SUFFIXES = pytest.mark.parametrize("suffix", list(FORMATS))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A run whose training is rewritten as if the first block of its second stage had collapsed, and pruned."""
    folder = tmp_path_factory.mktemp("finished")
    experiments, layout = registry.load(small_registry(folder / "experiments.yaml")), Layout(folder)
    fetch(experiments, layout, "digits")
    train(experiments, layout, KEY, CPU, 1)
    weights, facts = tensors.read(layout.model(KEY), "")
    tensors.write(layout.model(KEY), weights, {**facts, "discarded": [False, True, False]})
    change(layout.manifest(KEY), model_sha256=sha256(layout.model(KEY)))
    prune_run(experiments, layout, KEY)
    return experiments, layout


@pytest.fixture(scope="module")
def written(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The run's program by suffix, each alone in its folder."""
    paths = {suffix: tmp_path_factory.mktemp("written") / f"network{suffix}" for suffix in FORMATS}
    for path in paths.values():
        assert export(*finished, KEY, path).startswith("128 test images, in one batch and alone: the classes are")
    return paths


def opened(path: Path) -> Callable[[Tensor], Tensor]:
    """The program in a file, without anything of this package."""
    if path.suffix == ".pt2":
        return torch.export.load(path).module()
    session = onnxruntime.InferenceSession(path)
    return lambda images: torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])


@SUFFIXES
def test_a_program_puts_raw_images_into_the_classes_of_the_evaluation_however_many_at_once(
    finished: Finished, written: dict[str, Path], suffix: str
) -> None:
    experiments, layout = finished
    network = load_pruned(experiments, layout, KEY)
    assert network.architecture.kept == ((0,), (), (0,))
    assert list(written[suffix].parent.iterdir()) == [written[suffix]]  # the weights are inside
    run, images = opened(written[suffix]), store.load(layout, "digits").test_images
    expected = predict(network, open_batches(experiments, layout, experiments.run(KEY), CPU))
    assert images.dtype == torch.uint8
    for size in (1, 7, 360):
        found = torch.cat([run(batch) for batch in torch.split(images, size)])
        assert torch.equal(found.argmax(1), expected.classes)
        assert not found.requires_grad


def test_the_command_says_what_it_compared(
    finished: Finished, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = finished[1].root
    cli.export(KEY, tmp_path / "network.pt2", root, root / "experiments.yaml")
    assert capsys.readouterr().err.startswith(f"{tmp_path}/network.pt2: 128 test images, in one batch and alone: the ")


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


def test_imagenets_program_holds_its_normalisation_by_colour(experiments: Registry, tmp_path: Path) -> None:
    experiments, layout, key = accepting(experiments), Layout(tmp_path), "imagenet-101-epsilon_side-2p0-s0"
    fetch(experiments, layout, "imagenet", str(make_folder(tmp_path / "images")))
    run, data = experiments.run(key), experiments.datasets["imagenet"]
    whole = architecture_of(run, data, recipe_of(experiments, run))
    kept = {0, 4, 5}  # so the third and the fourth stage are skips with projections
    network = ResNet(whole.without([index not in kept for index in range(sum(map(len, whole.kept)))]))
    initialise(network, "variance_scaling", stream(0, "weights"))
    tensors.write(layout.model(key), {"mean_image": 255 * torch.tensor(MEAN).reshape(3, 1, 1)}, {})
    facts = {"model_sha256": sha256(layout.model(key)), "kept": network.architecture.kept}
    tensors.write(layout.pruned(key), network.state_dict(), facts)
    write_json(layout.manifest(key), facts)
    assert export(experiments, layout, key, tmp_path / "network.onnx").startswith("6 test images")


def with_other_mean(load: Callable[..., Classifier]) -> Callable[..., Classifier]:
    def changed(*arguments: object) -> Classifier:
        classifier = load(*arguments)
        classifier.mean += 20
        return classifier

    return changed


def test_a_program_that_disagrees_is_not_written_and_what_was_there_stays(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "network.pt2").write_text("as it was")
    monkeypatch.setattr(module, "load", with_other_mean(module.load))
    for name in ("network.pt2", "other.pt2"):
        with pytest.raises(UserError, match=r"was not written.*was expected, but of 128 test images.*make setup"):
            export(*finished, KEY, tmp_path / name)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("network.pt2", "as it was")]


@pytest.mark.parametrize("broken", ["export", "onnxruntime"])
def test_an_exporter_or_a_runtime_that_fails_leaves_a_sentence_and_no_file(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no such operator\nand a page of details")

    owner, name = (torch.onnx, "export") if broken == "export" else (onnxruntime, "InferenceSession")
    monkeypatch.setattr(owner, name, fail)
    with pytest.raises(UserError, match=r"was expected, but no such operator\. `make setup`"):
        export(*finished, KEY, tmp_path / "network.onnx")
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
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiments, layout = finished
    empty = Layout(tmp_path / "empty")
    with pytest.raises(UserError, match=r"network\.h5 ends in none of \.onnx, \.pt2"):
        export(experiments, layout, KEY, tmp_path / "network.h5")
    with pytest.raises(UserError, match=r"no file .*model\.safetensors; run `eps-resnet train"):
        export(experiments, empty, KEY, tmp_path / "network.pt2")
    for part in (layout.model, layout.manifest):
        target = empty.root / part(KEY).relative_to(layout.root)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(part(KEY).read_bytes())
    with pytest.raises(UserError, match=r"no file .*pruned\.safetensors; run `eps-resnet prune"):
        export(experiments, empty, KEY, tmp_path / "network.pt2")
    empty.pruned(KEY).write_bytes(layout.pruned(KEY).read_bytes())
    with pytest.raises(UserError, match=r"Data set digits is not at .*run `eps-resnet fetch digits`"):
        export(experiments, empty, KEY, tmp_path / "network.pt2")
    monkeypatch.setattr(module, "find_spec", lambda name: None if name == "onnxscript" else util.find_spec(name))
    with pytest.raises(UserError, match="onnxscript must be installed: run `make setup`"):
        export(experiments, layout, KEY, tmp_path / "network.onnx")
    assert list(tmp_path.iterdir()) == [empty.root]
