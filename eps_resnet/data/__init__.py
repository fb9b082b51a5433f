"""Data sets: fetched, verified and stored once, then loaded as memory-mapped tensors."""
