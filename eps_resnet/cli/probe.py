"""A program that `eps-resnet attest` starts: commands of eps-resnet, one after another, in one process.

    python probe.py [--lines FILE FOLDER] -- COMMAND ARGUMENTS -- COMMAND ARGUMENTS ...

Of whichever code Python finds, so it takes nothing from this package but the command line, which stays. With --lines it
adds each line of code below FOLDER to FILE when it is executed for the first time, in worker processes too.
"""

import os
import sys
from itertools import groupby
from types import FrameType
from typing import Any


def main(arguments: list[str]) -> None:
    """Runs the commands; ends with the exit code of the first that fails."""
    if arguments[0] == "--lines":
        record_lines(arguments[1], f"{arguments[2]}/")
        arguments = arguments[3:]
    from eps_resnet.cli import main as command

    for is_separator, words in groupby(arguments, "--".__eq__):
        if not is_separator:
            sys.argv = ["eps-resnet", *words]
            try:
                command()
            except SystemExit as end:
                if end.code:
                    raise


def record_lines(file: str, folder: str) -> None:
    """Adds `path:line` of each executed line to a file, once for each process that executes it."""
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    seen: set[tuple[str, int]] = set()

    def on_line(frame: FrameType, _event: str, _argument: Any) -> Any:
        place = frame.f_code.co_filename, frame.f_lineno
        if place not in seen:
            seen.add(place)
            os.write(descriptor, f"{place[0]}:{place[1]}\n".encode())  # appended whole, whoever else writes
        return on_line

    def on_call(frame: FrameType, _event: str, _argument: Any) -> Any:
        return on_line if frame.f_code.co_filename.startswith(folder) else None

    sys.settrace(on_call)


if __name__ == "__main__":
    main(sys.argv[1:])
