"""The command line, `eps-resnet`: parses, calls, prints. With --json: one JSON document on standard output, no more.

torch takes seconds to import and pydantic, for the registry, as long as all the rest: who asks for help waits for
neither, since each command imports itself what it needs.
"""

import os
import sys
from typing import Annotated

import typer

from eps_resnet.cli import claims, compare, evidence, look, plan, project, steps
from eps_resnet.cli.printing import speak_utf8
from eps_resnet.files.errors import UserError, explained
from eps_resnet.files.interruption import Interrupted

app = typer.Typer(
    help="Reproduces epsilon-ResNet (CVPR 2018): fetch, train, prune, evaluate, draw, compare. "
    "Snakemake runs the same steps for all experiments.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
# In this order their groups stand in the help.
for module in (claims, compare, look, steps, evidence, plan, project):
    app.registered_commands += module.commands.registered_commands


def _print_version(is_asked: bool) -> None:
    if is_asked:
        from importlib.metadata import version

        print(version("eps-resnet"))
        raise typer.Exit


@app.callback()
def options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """What belongs to the program itself, not to a command."""


def main() -> None:
    """Runs the command line. A user's mistake ends with one clear message and exit code 1, without a traceback.

    A training that a signal stopped ends with 128 + its number, as a shell says of a process that a signal ended.
    """
    speak_utf8()
    try:
        app()
    except UserError as error:
        _fail(str(error))
    except Interrupted as stop:
        _fail(str(stop) + ".", 128 + stop.signal)
    except RuntimeError as error:
        _fail_of_card(error)
    except OSError as error:
        _fail(f"{explained(error)} What was finished before is kept, and an interrupted training resumes.")


def _fail_of_card(error: RuntimeError) -> None:
    """Says that a card failed or has no memory left; raises any other error."""
    import torch

    if not isinstance(error, torch.OutOfMemoryError | torch.AcceleratorError):
        raise error
    _fail(
        f"{str(error).splitlines()[0]:.300} The same command resumes from the last checkpoint. Where memory ran out: "
        "let fewer trainings share a card (--config sharing), or give one more cards (--config gpus)."
    )


def _fail(message: str, code: int = 1) -> None:
    process = f", process {os.environ['RANK']}" if os.environ.get("RANK") else ""  # of those that torchrun started
    print(f"eps-resnet{process}: {message}", file=sys.stderr)
    raise SystemExit(code)
