"""What gates cost when open, and what they save: closed, and certified never to open again."""

import subprocess
import sys
from collections.abc import Callable

from benchmarks.measure import Line, in_turns, line
from benchmarks.trainings import step_of, training_of
from eps_resnet.method.state import Training

DEPTH, CLOSED = 110, 0.8
GATED_DEPTHS = {20: 15, 110: 7}  # and how many pairs
PAIRS = 7
STATES = ("open", "closed", "certified")
NEVER_OPEN = 1e30  # epsilon


def lines(cores: int) -> list[Line]:
    """Open gates against none; then all open against 80 % closed and 80 % certified: time and peak memory."""
    found = [_open(depth, pairs, cores) for depth, pairs in GATED_DEPTHS.items()]
    steps = {state: step_of(_training(state)) for state in STATES}
    closed, certified = (in_turns(steps["open"], steps[state], PAIRS) for state in STATES[1:])
    what = f"as fast as with all gates open, ResNet-{DEPTH}, {CLOSED:.0%} of its gates"
    found.append(line("3 closed gates", f"{what} closed", closed, cores, at_least=1.8))
    found.append(line("4 certified blocks", f"{what} certified", certified, cores, at_least=4))
    whole, part = (peak_mib(state, DEPTH) for state in STATES[:2])
    memory = (
        f"peak memory of a step beyond the network's own, {CLOSED:.0%} of the gates closed / all open, ResNet-{DEPTH}"
    )
    share = part / whole
    note = f"{part:,.0f} MiB against {whole:,.0f} MiB"
    found.append(Line("3 closed gates", memory, share, share, share, cores, at_most=0.5, note=note))
    return found


def _open(depth: int, pairs: int, cores: int) -> Line:
    gated, bare = step_of(training_of(depth)), step_of(training_of(depth, gated=False))
    what = f"step with all gates open / without gates, ResNet-{depth}"
    return line("2 gate", what, in_turns(gated, bare, pairs), cores, at_most=1.03)


def _training(state: str, depth: int = DEPTH) -> Training:
    """All gates open, or four of every five blocks closed or certified: as many in each stage."""
    training = training_of(depth)
    for index, block in enumerate(training.network.blocks):
        if index % 5 and state == "closed":
            block.epsilon = NEVER_OPEN
        block.certified = bool(index % 5) and state == "certified"
    return training


def peak_mib(state: str, depth: int) -> float:
    """Peak memory of a process that makes two steps, less what it had before the first."""
    command = [sys.executable, "-m", "benchmarks.gates", state, str(depth)]
    return float(subprocess.run(command, check=True, capture_output=True, encoding="utf-8").stdout)


def _own_peak(step: Callable[[], object]) -> float:
    before = _status("VmRSS")
    step(), step()
    return (_status("VmHWM") - before) / 1024


def _status(name: str) -> int:
    """A line of the kernel's account of this process, in KiB."""
    with open("/proc/self/status", encoding="utf-8") as lines_of_it:  # noqa: PTH123
        return next(int(text.split()[1]) for text in lines_of_it if text.startswith(name))


if __name__ == "__main__":
    print(_own_peak(step_of(_training(sys.argv[1], int(sys.argv[2])))))
