"""What a manifest records of the machine."""

from pathlib import Path

import pytest
import torch

from eps_resnet.files import machine

ON_A_CPU = {"device", "processor", "instructions", "processes", "threads", "python", "torch"}
MODULE = """NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.129.03  Thu Oct 19 18:56:32 UTC 2023
GCC version:  gcc version 11.4.0 (Ubuntu 11.4.0-1ubuntu1~22.04)
"""


def test_a_card_is_recorded_with_its_driver_and_a_cpu_without_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA H100")
    monkeypatch.setattr(machine, "DRIVER", tmp_path / "version")
    assert set(machine.machine(torch.device("cpu"), 1, 1)) == ON_A_CPU
    (tmp_path / "version").write_text(MODULE)
    on_a_card = machine.machine(torch.device("cuda"), 1, 1)
    assert set(on_a_card) == ON_A_CPU | {"driver"}
    assert (on_a_card["device"], on_a_card["driver"]) == ("NVIDIA H100", "535.129.03")


def test_a_driver_that_the_system_does_not_tell_is_recorded_as_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA H100")
    monkeypatch.setattr(machine, "DRIVER", tmp_path / "version")
    assert machine.machine(torch.device("cuda"), 1, 1)["driver"] is None
    (tmp_path / "version").write_text("something else")
    assert machine.machine(torch.device("cuda"), 1, 1)["driver"] is None
