"""Signals that ask a training to stop (SIGTERM of a cluster, Ctrl-C): noted, and obeyed where it can be saved first."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)

_received: list[signal.Signals] = []


class Interrupted(Exception):  # noqa: N818  # not an error: what was asked for was done
    """The training was asked to stop, and stopped where it can go on."""

    def __init__(self, signal: signal.Signals) -> None:
        super().__init__(signal.name)
        self.signal = signal
        self.saved = ""  # what was saved, in words

    def __str__(self) -> str:
        return f"stopped by {self.signal.name}{self.saved}"


@contextmanager
def deferred() -> Iterator[None]:
    """Within, signals are only noted, but Ctrl-C after the first ends the process at once. An ignored one stays so.

    SIGTERM again is the same request: Slurm sends it twice at a time limit, and torchrun passes its own on to processes
    that have it from Slurm already. SIGKILL is there for who cannot wait.
    """
    _received.clear()
    former = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        if former[number] != signal.SIG_IGN:  # as of a process that a shell started in the background
            signal.signal(number, _note)
    try:
        yield
    finally:
        _received.clear()
        for number in SIGNALS:
            signal.signal(number, former[number])


def _note(number: int, _frame: FrameType | None) -> None:
    _received.append(signal.Signals(number))
    if signal.getsignal(signal.SIGINT) == _note:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def received() -> signal.Signals | None:
    """The signal that was noted, if any."""
    return _received[0] if _received else None


def check() -> None:
    """Raises Interrupted if a signal was noted."""
    if _received:
        raise Interrupted(_received[0])
