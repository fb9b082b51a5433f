"""On what a result was computed: what its bytes depend on besides configuration, data and code."""

import platform
from pathlib import Path
from typing import Any

import torch


def machine(device: torch.device, threads: int, processes: int) -> dict[str, Any]:
    """What a manifest records of the machine; where one of it differs, results agree statistically only."""
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "processor": processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),  # of several, which PyTorch's own kernels use
        "processes": processes,
        "threads": threads,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def processor() -> str:
    """The model of the processor, where the system tells it, else its family."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
