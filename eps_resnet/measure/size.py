"""What a network costs: parameters, MiB and multiply-adds, counted from its shape. No torch in here."""

from dataclasses import dataclass

from eps_resnet.method.networks.architecture import Architecture, ConvShape

MIB = 2**20


@dataclass(frozen=True)
class Size:
    """What a network costs. `multiply_adds`: convolutions and linear layers, for one image in evaluation."""

    parameters: int
    multiply_adds: int
    blocks: tuple[int, ...]

    @property
    def mib(self) -> float:
        """Size of the trainable parameters in MiB (2^20 bytes, four bytes each), the paper's unit in Fig. 7."""
        return self.parameters * 4 / MIB


def size_of(architecture: Architecture, image_size: int) -> Size:
    """Counts parameters (batch-norm scale and shift included; the side head too, if any) and multiply-adds."""
    stem, classes = architecture.stem(), architecture.classes
    pixels = _divided(image_size, stem.stride)  # height and width of the maps
    parameters, total = _weights(stem) + 2 * stem.outputs, _weights(stem) * pixels**2
    if architecture.family == "imagenet":
        pixels = _divided(pixels, 2)  # max-pooling
    for stage, kept in enumerate(architecture.kept):
        for index in sorted({0, *kept}):  # a stage's first block leaves its skip
            is_kept, entering = index in kept, pixels
            pixels = _divided(pixels, 2 if stage > 0 and index == 0 else 1)
            if projection := architecture.projection(stage, index):
                parameters, total = parameters + _weights(projection), total + _weights(projection) * pixels**2
            norms = architecture.norms(stage, index) if is_kept else []
            if architecture.shares_activation(stage, index):
                norms = [architecture.inputs(stage, index), *norms]
            parameters += 2 * sum(norms)
            for shape in architecture.residual(stage, index) if is_kept else []:
                entering = _divided(entering, shape.stride)
                parameters, total = parameters + _weights(shape), total + _weights(shape) * entering**2
    heads = [architecture.outputs[-1]]
    if architecture.side_after is not None:
        heads.append(architecture.outputs[architecture.side_after[0]])
    parameters += sum(2 * channels + (channels + 1) * classes for channels in heads)
    total += architecture.outputs[-1] * classes
    return Size(parameters, total, tuple(len(stage) for stage in architecture.kept))


def _divided(pixels: int, stride: int) -> int:
    return -(-pixels // stride)


def _weights(shape: ConvShape) -> int:
    return shape.kernel**2 * shape.inputs * shape.outputs
