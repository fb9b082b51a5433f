"""Work done ahead in other processes: each result is handed over, or a sentence says why not; nothing waits for ever.

torch's DataLoader is not used: it hands tensors over through a socket in TMPDIR and a file in /dev/shm, waits for ever
where either fails, and does not end after it lost a worker. Here a result is memory without a name, sent through a pair
of sockets at which the end of a worker shows at once.
"""

import ctypes
import errno
import json
import mmap
import os
import signal
import socket
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import cycle
from multiprocessing.connection import wait
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import torch
from torch import Tensor

from eps_resnet.files.errors import UserError

Work = Callable[[int], Tensor]
AHEAD = 2  # results that a worker makes before the first of them is taken
PATIENCE = 600  # seconds in which a worker makes a result; the largest take a few
ENDING = 5  # seconds that a killed process gets to end; one that hangs in a dead file system is left to the kernel
MESSAGE, WORDS = 64 << 10, 4000  # bytes of a message at most, and characters of an error in it
PR_SET_PDEATHSIG = 1  # of prctl(2)
AGAIN = "What was finished is kept, and the same command goes on"


def in_workers(work: Work, steps: range, workers: int, pin: bool = False) -> Iterator[Tensor]:
    """work(step) for each step, in order, computed ahead by worker processes.

    Raises the UserError that `work` raises, and one that says what happened if it fails otherwise, or if a worker dies
    or does not answer. `pin`: tensors arrive in pinned memory, from which a GPU copies while it computes.
    """
    started: list[_Worker] = []
    count = min(workers, len(steps))
    try:
        for first in range(count):
            started.append(_Worker(work, steps[first::count]))
        for step, worker in zip(steps, cycle(started), strict=False):
            result = worker.result(step)
            yield result.pin_memory() if pin else result
    finally:
        for worker in started:
            worker.kill()
        latest = time.monotonic() + ENDING
        for worker in started:
            worker.status(latest)  # otherwise it would stay in the table of processes


class _Worker:
    """A process that goes through its steps, as far ahead as it is asked to, and never outlives the main process."""

    def __init__(self, work: Work, steps: range) -> None:
        self._status: int | None = None
        parent = os.getpid()
        try:
            self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self._process = os.fork()
        except OSError as error:
            raise UserError(
                f"A process that prepares images cannot be started: {error.strerror}. Use fewer of them (--workers)."
            ) from None
        if self._process == 0:
            _serve(work, steps, theirs, parent)
        theirs.close()
        for _ in range(AHEAD):
            self._ask()

    def __str__(self) -> str:
        return f"Process {self._process}, which prepares images,"

    def result(self, step: int) -> Tensor:
        """What it makes of its next step. Raises UserError if there is none."""
        message, memory = self._received(step)
        self._ask()
        if refusal := message.get("refused"):
            raise UserError(refusal)
        if error := message.get("failed"):
            raise UserError(f"{self} failed in step {step}: {error}. {AGAIN}.")
        try:
            return _tensor(message["shape"], message["dtype"], memory)
        except OSError as error:
            raise UserError(f"What {self} made cannot be taken over: {error.strerror}. {AGAIN}.") from None

    def kill(self) -> None:
        """Ends it; it has nothing to save."""
        self._channel.close()
        if self._status is None:
            with suppress(ProcessLookupError):
                os.kill(self._process, signal.SIGKILL)

    def status(self, latest: float) -> int | None:
        """Its exit code, or minus the signal that ended it; None if it goes on until `latest` though it should end."""
        while self._status is None and time.monotonic() < latest:
            try:
                process, status = os.waitpid(self._process, os.WNOHANG)
            except ChildProcessError:  # SIGCHLD is ignored, as whoever started this left it: no code is kept
                process, status = self._process, 0
            if process:
                self._status = os.waitstatus_to_exitcode(status)
            else:
                time.sleep(0.01)
        return self._status

    def _ask(self) -> None:
        with suppress(ConnectionError):  # it died; _received says of what
            self._channel.send(b"1")

    def _received(self, step: int) -> tuple[dict[str, Any], int | None]:
        """Its next message, and the descriptor of the memory that came with it."""
        # Second by second, as a job that was suspended for hours did not wait for hours.
        if not any(wait([self._channel], 1) for _ in range(PATIENCE)):
            raise UserError(
                f"{self} did not end step {step} in {PATIENCE} seconds. The file system of the images may not answer. "
                f"{AGAIN}."
            )
        try:
            message, descriptors, *_ = socket.recv_fds(self._channel, MESSAGE, 1)
        except ConnectionError:  # it died before it read what it was asked
            message, descriptors = b"", []
        if not message:
            raise UserError(f"{self} {_end(self.status(time.monotonic() + ENDING))}. {AGAIN}.")
        return json.loads(message), next(iter(descriptors), None)


def _end(status: int | None) -> str:
    """How a worker ended, in words."""
    if status is None:
        return "does not answer"
    if status == -signal.SIGKILL:
        return (
            "was killed (SIGKILL), as the kernel does where memory runs out: give more memory, or use fewer of them "
            "(--workers, or fewer cores)"
        )
    return f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with exit code {status}"


def _tensor(shape: list[int], dtype: str, descriptor: int | None) -> Tensor:
    """A tensor that lies in memory shared with a worker, which has let go of it."""
    if descriptor is None:  # the kernel drops what a process has no room for
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    try:
        if 0 in shape:
            return torch.empty(shape, dtype=getattr(torch, dtype))
        return torch.frombuffer(mmap.mmap(descriptor, 0), dtype=getattr(torch, dtype)).reshape(shape)
    finally:
        os.close(descriptor)


# In the worker


def _serve(work: Work, steps: range, channel: socket.socket, parent: int) -> NoReturn:
    try:
        _end_with(parent)
        torch.set_num_threads(1)
        for step in steps:
            if not channel.recv(1):
                break
            _answer(channel, work, step)
        while channel.recv(1):  # an end with something unread would take back what was sent
            pass
    finally:
        os._exit(1)  # what the main process has registered for its own end is not the worker's to do


def _end_with(parent: int) -> None:
    """SIGTERM asks the main process to stop, which may need this one to end its step; Ctrl-C has reached it already."""

    def pass_on(number: int, _frame: FrameType | None) -> None:
        if os.getppid() == parent:
            os.kill(parent, number)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, pass_on)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before that
        os._exit(1)


def _answer(channel: socket.socket, work: Work, step: int) -> None:
    try:
        result = work(step).contiguous()
        with os.fdopen(os.memfd_create("result"), "wb") as memory:
            memory.write(result.numpy().data)
            memory.flush()
            message = {"shape": list(result.shape), "dtype": str(result.dtype).removeprefix("torch.")}
            socket.send_fds(channel, [json.dumps(message).encode()], [memory.fileno()])
    except UserError as error:
        channel.send(json.dumps({"refused": str(error)[:WORDS]}).encode())
    except BaseException as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        words = f"{type(error).__name__}: {str(error)[:WORDS]} ({Path(place.filename).name}, line {place.lineno})"
        channel.send(json.dumps({"failed": words}).encode())
