"""What torchrun tells a process of those that train together, checked before anything relies on it."""

import os

from eps_resnet.files.errors import UserError

RANK, WORLD_SIZE = "RANK", "WORLD_SIZE"
MEETING = ("MASTER_ADDR", "MASTER_PORT")


def require_consistent_environment() -> None:
    """Raises UserError unless RANK and its like are as torchrun sets them, or not set, as which empty ones count."""
    for name in (RANK, WORLD_SIZE, *MEETING):
        if os.environ.get(name) == "":
            del os.environ[name]
    rank, size = _number(RANK, 0), _number(WORLD_SIZE, 1)
    if not rank < size:
        raise UserError(
            f"{RANK}={rank} is not below {WORLD_SIZE}, which is {os.environ.get(WORLD_SIZE, 'not set')}. {_remedy()}"
        )
    missing = [name for name in (RANK, *MEETING) if name not in os.environ]
    if size > 1 and missing:
        verb = "is" if len(missing) == 1 else "are"
        raise UserError(f"{WORLD_SIZE}={size}, but {' and '.join(missing)} {verb} not set. {_remedy()}")


def _number(name: str, default: int) -> int:
    text = os.environ.get(name, str(default))
    if not (text.isascii() and text.isdigit()):
        raise UserError(f"{name}={text!a:.40} is no number. {_remedy()}")
    return int(text)


def _remedy() -> str:
    names = " ".join((RANK, WORLD_SIZE, *MEETING))
    return (
        "torchrun sets them for each of several processes (`python -m eps_resnet.torchrun`); for a training by one "
        f"process: `unset {names}`."
    )
