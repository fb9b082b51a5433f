"""Work done in a process of its own, call by call: what others would run without any of this project's settings."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module


@contextmanager
def elsewhere(expression: str, cores: int) -> Iterator[Callable[[], object]]:
    """A call that waits for one call of `module.function(number)`'s result, made in a process with so many threads."""
    command = [sys.executable, "-m", "benchmarks.elsewhere", expression, str(cores)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8", bufsize=1
    ) as process:
        assert process.stdin
        assert process.stdout
        ask, answer = process.stdin, process.stdout

        def call() -> None:
            ask.write("\n")
            if not answer.readline():
                raise RuntimeError(f"{expression} ended; its message is above")

        yield call
        ask.close()


def _serve(expression: str, cores: int) -> None:
    import torch

    torch.set_num_threads(cores)
    name, argument = expression.rstrip(")").split("(")
    module, function = name.rsplit(".", 1)
    work = getattr(import_module(module), function)(int(argument))
    for _ in sys.stdin:
        work()
        print("done", flush=True)


if __name__ == "__main__":
    _serve(sys.argv[1], int(sys.argv[2]))
