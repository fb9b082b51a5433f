"""On what a result was computed: what its bytes depend on besides configuration, data and code."""

import platform
import re
from pathlib import Path
from typing import Any

import torch

PROCESSORS = Path("/proc/cpuinfo")
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
    return _first(r"(?<!\S)(\d+(?:\.\d+)+)(?!\S)", DRIVER)


def processor() -> str:
    """The model of the processor, where the system tells it, else its family."""
    return _first(r"^model name[ \t]*:[ \t]*(.*\S)", PROCESSORS) or platform.machine()


def _first(pattern: str, file: Path) -> str | None:
    try:
        found = re.search(pattern, file.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
    except OSError:
        return None
    return found[1] if found else None
