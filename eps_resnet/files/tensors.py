"""Named tensors in one safetensors file, with the facts that belong to them: no code inside, memory-mapped."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from safetensors.torch import save as serialise
from torch import Tensor

from eps_resnet.files.atomic import write_atomically
from eps_resnet.files.errors import UserError


def serialised(tensors: dict[str, Tensor], facts: dict[str, Any]) -> bytes:
    """The content of a file with these tensors and facts; equal ones give equal bytes."""
    # One metadata entry only: safetensors writes several of them in random order.
    content: bytes = serialise(
        {name: t.cpu().contiguous() for name, t in tensors.items()}, {"facts": json.dumps(facts)}
    )
    return content


def write(path: Path, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Writes tensors and facts atomically; equal content gives equal bytes. Raises OSError if it cannot be written."""
    content = serialised(tensors, facts)
    write_atomically(path, lambda temporary: temporary.write_bytes(content))


def read(path: Path, remedy: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the facts. Raises UserError, which says the remedy, if the file is missing or damaged."""
    if not path.exists():
        raise UserError(f"There is no file {path}; {remedy}.")
    try:
        with safe_open(path, "pt") as file:
            facts: dict[str, Any] = json.loads(file.metadata()["facts"])
        return load_file(path), facts
    except (SafetensorError, TypeError, KeyError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error}); {remedy}.") from None
