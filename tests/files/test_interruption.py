"""Signals that ask to stop, given to a process of its own."""

import signal
import subprocess
import sys

import pytest

PROGRAM = """
import signal, sys
from eps_resnet.files import interruption
signal.signal(signal.SIGINT, signal.SIG_IGN if "ignored" in sys.argv else signal.default_int_handler)
with interruption.deferred():
    for name in sys.argv[1].split():
        signal.raise_signal(getattr(signal, name))
    print(interruption.received().name)
"""


def after(signals: str, *options: str) -> tuple[int, str]:
    """How a process ends in which these signals arrive while they are deferred, and which of them it noted."""
    command = [sys.executable, "-c", PROGRAM, signals, *options]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    return process.returncode, process.stdout.strip()


@pytest.mark.parametrize("signals", ["SIGTERM", "SIGTERM SIGTERM SIGTERM", "SIGINT SIGTERM"])
def test_the_first_signal_counts_and_sigterm_again_is_the_same_request(signals: str) -> None:
    assert after(signals) == (0, signals.split()[0])


@pytest.mark.parametrize("signals", ["SIGINT SIGINT", "SIGTERM SIGINT"])
def test_ctrl_c_after_a_signal_ends_the_process_at_once(signals: str) -> None:
    assert after(signals) == (-signal.SIGINT, "")


def test_ctrl_c_that_is_ignored_stays_so_after_a_signal() -> None:
    assert after("SIGTERM SIGINT", "ignored") == (0, "SIGTERM")
