"""What fixes a result's last digits."""

from collections.abc import Iterator

import pytest
import torch

from eps_resnet.method.arithmetic import prepare

CUDNN = ("deterministic", "benchmark", "allow_tf32")


@pytest.fixture
def _settings() -> Iterator[None]:
    """As they were, afterwards."""
    threads, matmul = torch.get_num_threads(), torch.backends.cuda.matmul.allow_tf32
    before = {name: getattr(torch.backends.cudnn, name) for name in CUDNN}
    yield
    torch.set_num_threads(threads)
    torch.backends.cuda.matmul.allow_tf32 = matmul
    for name, value in before.items():
        setattr(torch.backends.cudnn, name, value)


@pytest.mark.usefixtures("_settings")
def test_on_a_gpu_the_algorithms_of_convolutions_are_fixed_and_sum_in_one_order() -> None:
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = False, True
    prepare(1)
    assert torch.backends.cudnn.deterministic
    assert not torch.backends.cudnn.benchmark
