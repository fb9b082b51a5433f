"""Random streams: every draw is a function of (seed, purpose, epoch), so a resumed run needs no saved random state."""

import hashlib

import torch


def stream(seed: int, purpose: str, epoch: int = 0) -> torch.Generator:
    """A private CPU generator for one purpose in one epoch. Equal arguments give equal streams on any device."""
    digest = hashlib.sha256(f"{seed}/{purpose}/{epoch}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
