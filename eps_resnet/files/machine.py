"""On what a result was computed: what its bytes depend on besides configuration, data and code."""

import platform
from pathlib import Path
from typing import Any

import torch

DRIVER = Path("/proc/driver/nvidia/version")  # what NVIDIA's kernel module says of itself


def machine(device: torch.device, threads: int, processes: int) -> dict[str, Any]:
    """What a manifest records of the machine; where one of it differs, results agree statistically only."""
    card = {"driver": driver()} if device.type == "cuda" else {}
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "processor": processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),  # of several, which PyTorch's own kernels use
        "processes": processes,
        "threads": threads,
        "python": platform.python_version(),
        "torch": torch.__version__,
        **card,
    }


def driver() -> str | None:
    """The version of NVIDIA's driver, where the system tells it."""
    try:
        words = DRIVER.read_text().split()
    except OSError:
        return None
    numbers = [word for word in words if word.count(".") >= 1 and word.replace(".", "").isdigit()]
    return numbers[0] if numbers else None


def processor() -> str:
    """The model of the processor, where the system tells it, else its family."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
