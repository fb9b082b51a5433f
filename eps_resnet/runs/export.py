"""Writes a run's pruned network as a file that other programs load: ONNX, or a program of torch.export.

The program takes raw images and holds the normalisation, so that nobody who uses it needs this package.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from eps_resnet.data import store
from eps_resnet.experiments.experiment import Experiment
from eps_resnet.experiments.models import AreaCrop
from eps_resnet.files import tensors
from eps_resnet.files.atomic import write_atomically
from eps_resnet.files.errors import UserError
from eps_resnet.method.inputs.open import open_batches
from eps_resnet.method.networks.resnet import ResNet
from eps_resnet.runs.networks import MEAN_IMAGE, load_pruned, require_unaltered

# The most that a logit may differ by, as a share of the largest. Sums in another order differ by about 1e-6.
TOLERANCE = 1e-4
CPU = torch.device("cpu")
Program = Callable[[Tensor], Tensor]  # raw images to logits


class Classifier(nn.Module):
    """A network with its normalisation: raw images (N, C, H, W), uint8, to logits (N, classes)."""

    mean: Tensor
    divisor: Tensor

    def __init__(self, network: ResNet, mean: Tensor, divisor: Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", mean)
        self.register_buffer("divisor", divisor)
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes)."""
        return cast(Tensor, self.network((images.float() - self.mean) / self.divisor)[0])


def export(experiment: Experiment, path: Path) -> str:
    """Writes a run's pruned network to `path`, in the format that its suffix names, once it agrees with PyTorch.

    Returns how well it agrees, in words. Raises UserError, and leaves no file, if the suffix is unknown, a package, the
    network or its images are missing, or the written program does not do what the network does.
    """
    if path.suffix not in FORMATS:
        raise UserError(f"{path} ends in none of {', '.join(FORMATS)}; the suffix says in which format to write.")
    classifier = load(experiment)
    raw, inputs = test_images(experiment)
    expected = classifier.network(inputs)[0]
    write, opened = FORMATS[path.suffix]
    agreement = ""

    def write_checked(temporary: Path) -> None:
        nonlocal agreement
        with _failing_clearly(experiment.key, path):
            write(program_of(classifier, raw), temporary)
            agreement = compare(opened(temporary), raw, expected)

    write_atomically(path, write_checked)
    return agreement


def load(experiment: Experiment) -> Classifier:
    """A run's pruned network with its normalisation. Raises UserError if a file is missing, damaged or altered."""
    weights, _ = tensors.read(experiment.files.model, f"run `eps-resnet train {experiment.key}`")
    require_unaltered(experiment)
    divisor = experiment.recipe.pixel_divisor
    if divisor is None:
        from eps_resnet.method.inputs.jpeg import STD

        scale = 255 * torch.tensor(STD).reshape(3, 1, 1)
    else:
        scale = torch.tensor(float(divisor))
    return Classifier(load_pruned(experiment), weights[MEAN_IMAGE], scale)


def test_images(experiment: Experiment) -> tuple[Tensor, Tensor]:
    """The first batch of a run's test images, raw and normalised as evaluation has them.

    Raises UserError if the data set is missing or altered.
    """
    layout, data, name = experiment.layout, experiment.data, experiment.run.dataset
    inputs = next(iter(open_batches(experiment, CPU).test()))
    if data.format != "imagenet":
        return store.load(layout, name).test_images[: len(inputs)], inputs
    from eps_resnet.data import decode, listing
    from eps_resnet.method.inputs import jpeg

    split, area = listing.load(layout, name)["test"], cast(AreaCrop, experiment.recipe.augmentation.area)
    images = [jpeg.test_image(decode.decoded(split, i), area, data.size) for i in range(len(inputs))]
    return torch.stack(images), inputs


def compare(run: Program, images: Tensor, expected: Tensor) -> str:
    """How a program's logits agree with the expected ones, on all images at once and on each alone, in words.

    Raises UserError if a class differs or a logit by more than TOLERANCE.
    """
    largest = 0.0
    for size in (len(images), 1):
        found = torch.cat([run(batch) for batch in torch.split(images, size)])
        classes = int((found.argmax(1) != expected.argmax(1)).sum())
        apart = float((found - expected).abs().max() / expected.abs().max())
        if classes or not apart <= TOLERANCE:  # so written, it refuses what is not a number
            raise UserError(
                f"of {len(images)} test images in batches of {size}, {classes} are put into another class than by "
                f"PyTorch, and logits differ by {apart:.2g} of the largest, where {TOLERANCE:g} is the most expected"
            )
        largest = max(largest, apart)
    return (
        f"{len(images)} test images, in one batch and alone: the classes are PyTorch's, logits differ by at most "
        f"{largest:.1g} of the largest"
    )


@contextmanager
def _failing_clearly(key: str, path: Path) -> Iterator[None]:
    """Turns whatever exporters and runtimes raise into a UserError. The disk's errors and a lack of memory pass."""
    try:
        yield
    except (OSError, MemoryError):
        raise
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"{path} was not written: a program that does what the pruned network of {key} does was expected, but "
            f"{reason:.300}. `make setup` installs the versions with which it works."
        ) from error


def program_of(classifier: Classifier, images: Tensor) -> ExportedProgram:
    """The classifier as a graph for any number of images of this size."""
    free = {"images": {0: torch.export.Dim("batch")}}
    program = torch.export.export(classifier, (images[:2],), dynamic_shapes=free)
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # names the files of this machine
    return program


def _write_onnx(program: ExportedProgram, path: Path) -> None:
    torch.onnx.export(
        program,
        f=path,
        input_names=["images"],
        output_names=["logits"],
        dynamic_shapes={"images": {0: "batch"}},  # what the size is called in the file
        external_data=False,  # weights in the same file
        verbose=False,
    )


def _open_onnx(path: Path) -> Program:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(None, {"images": images.numpy()})[0])


def _write_program(program: ExportedProgram, path: Path) -> None:
    with path.open("wb") as file:  # torch would warn of a name that does not end in .pt2
        torch.export.save(program, file)


def _open_program(path: Path) -> Program:
    with path.open("rb") as file:
        return cast(Program, torch.export.load(file).module())


FORMATS = {".onnx": (_write_onnx, _open_onnx), ".pt2": (_write_program, _open_program)}
