"""The layers that differ from PyTorch's: SAME padding, batch norm of slices, the shortcut without weights."""

from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eps_resnet.method.networks.architecture import ConvShape


def pad_same(x: Tensor, kernel: int, stride: int, value: float = 0.0) -> Tensor:
    """Pads (N, C, H, W) as TensorFlow's SAME does: what is left over goes after the image, PyTorch's goes before it."""
    pads: list[int] = []
    for size in (x.shape[3], x.shape[2]):
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads, value=value)


class Conv(nn.Conv2d):
    """A convolution without bias that keeps the size, or divides it by its stride."""

    def __init__(self, shape: ConvShape, stride_padding: Literal["same", "symmetric"]) -> None:
        inputs, outputs, kernel, stride = shape
        self.pads = stride > 1 and kernel > 1 and stride_padding == "same"  # at stride 1 the two are the same
        super().__init__(inputs, outputs, kernel, stride, 0 if self.pads else kernel // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H/stride, W/stride)."""
        return super().forward(pad_same(x, self.kernel_size[0], self.stride[0]) if self.pads else x)


class MaxPool(nn.Module):
    """3x3 max-pooling with stride 2 (ImageNet's stem)."""

    def __init__(self, stride_padding: Literal["same", "symmetric"]) -> None:
        super().__init__()
        self.pads = stride_padding == "same"

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H/2, W/2)."""
        if self.pads:
            return F.max_pool2d(pad_same(x, 3, 2, -torch.inf), 3, 2)
        return F.max_pool2d(x, 3, 2, 1)


class BatchNorm(nn.BatchNorm2d):
    """Batch norm of each of `slices` equal parts of a mini-batch alone, as the devices of a data-parallel training do.

    The running statistics are the first slice's, as the first device's are kept there. Scale, shift and statistics are
    float32, and so are the sums over a mini-batch; what goes in and comes out has the precision of the convolution
    before it, without a copy in another. Mini-batches are counted by the network, in one operation for all layers.
    """

    def __init__(self, channels: int, slices: int) -> None:
        super().__init__(channels)  # momentum 0.1 and eps 1e-5 are the reference code's decay 0.9 and eps
        self.slices = slices

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same."""
        if self.slices == 1 or not self.training:
            return self._normalised(x)
        first, *others = x.chunk(self.slices)
        parts = [self._normalised(first)]
        parts += [F.batch_norm(part, None, None, self.weight, self.bias, True, 0.0, self.eps) for part in others]
        return torch.cat(parts)

    def _normalised(self, x: Tensor) -> Tensor:
        scale, statistics = (self.weight, self.bias), (self.running_mean, self.running_var)
        return F.batch_norm(x, *statistics, *scale, self.training, cast(float, self.momentum), self.eps)


class PoolAndPad(nn.Module):
    """The CIFAR networks' shortcut where the stage changes: 2x2 average pooling, zero channels on both sides."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.extra = (outputs - inputs) // 2

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, 2C, H/2, W/2)."""
        return F.pad(F.avg_pool2d(x, 2), (0, 0, 0, 0, self.extra, self.extra))
