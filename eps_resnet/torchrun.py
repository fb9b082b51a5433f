"""torchrun, with its own options, that says in one line how a data-parallel training ended.

`python -m eps_resnet.torchrun --standalone --nproc-per-node 4 -m eps_resnet train RUN`. Where a process is lost,
torchrun itself prints a traceback of its own.
"""

import logging
import socket
import sys
from argparse import Namespace
from signal import SIGTERM

from torch.distributed import DistError, run
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.elastic.rendezvous import RendezvousError


def main() -> None:
    """Starts the processes and waits for them. Ends with the exit code of the one that failed first.

    128 + its number for a signal, as shells say it: one that this process received, or that ended one of the others.
    """
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    try:
        run.run(with_address(run.parse_args(sys.argv[1:])))  # type: ignore[no-untyped-call]
    except SignalException as stop:
        _end(f"stopped by {stop.sigval.name}; the same command goes on from the last checkpoint", 128 + stop.sigval)
    except (RendezvousError, DistError) as error:
        _end(f"the node where all processes meet was lost, or cannot be reached ({str(error).splitlines()[0]:.200})", 1)
    except ChildFailedError as error:
        index, failure = first_failure(error.failures)
        _end(in_words(index, failure), 128 - failure.exitcode if failure.exitcode < 0 else failure.exitcode)


def with_address(options: Namespace) -> Namespace:
    """torchrun's options with an address at which this machine's processes find each other.

    By itself torchrun takes the host's name, and where that does not resolve it waits for minutes, again and again.
    """
    if options.local_addr is None and (options.standalone or options.nnodes in ("1", "1:1")):
        options.local_addr = "127.0.0.1"
    if options.local_addr is None:
        name = socket.getfqdn()
        try:
            socket.getaddrinfo(name, None)
        except OSError as error:
            _end(
                f"this machine's name, {name}, does not resolve ({error.strerror}), so no other process would find it; "
                "give its address on the network of all nodes: --local-addr ADDRESS",
                1,
            )
    return options


def first_failure(failures: dict[int, ProcessFailure]) -> tuple[int, ProcessFailure]:
    """The process that failed first, by its index.

    Those that SIGTERM ended are the ones that torchrun stopped because of it. One that another signal ended comes
    before those that missed it.
    """
    return min(
        failures.items(), key=lambda item: (item[1].exitcode == -SIGTERM, item[1].exitcode >= 0, item[1].timestamp)
    )


def in_words(index: int, failure: ProcessFailure) -> str:
    """What happened to a process of the training, and what to do."""
    if failure.exitcode >= 0:
        return f"process {index} of this training ended with exit code {failure.exitcode}; its message is above"
    return (
        f"process {index} of this training was ended by {failure.signal_name()}, so all others were stopped (SIGKILL: "
        "no memory left?). The same command, with the same number of processes, resumes from the last checkpoint"
    )


def _end(message: str, code: int) -> None:
    print(f"eps-resnet: {message}.", file=sys.stderr)
    raise SystemExit(code)


if __name__ == "__main__":
    main()
