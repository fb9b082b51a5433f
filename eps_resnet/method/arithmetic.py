"""What could change a result's last digits: the number of CPU threads; on GPUs products' precision and algorithms."""

from typing import Literal

import torch

Precision = Literal["float32", "tf32", "bfloat16"]


def prepare(threads: int, precision: Precision = "float32") -> None:
    """Fixes the number of CPU threads, and on GPUs full float32 precision unless TF32 is what the recipe asks for.

    On GPUs cuDNN takes algorithms that sum in the same order each time, and chooses them without timing any.
    """
    torch.set_num_threads(threads)
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
