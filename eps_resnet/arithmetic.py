"""What could change a result's last digits: the number of CPU threads, and the precision of products on GPUs."""

import torch


def prepare(threads: int) -> None:
    """Fixes the number of CPU threads, and full float32 precision on GPUs, which round to TF32 otherwise."""
    torch.set_num_threads(threads)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
