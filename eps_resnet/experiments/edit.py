"""Changes of the registry's file as text, so that its comments and everything else in it stay byte for byte."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from eps_resnet.experiments.registry import Registry, load
from eps_resnet.files.atomic import write_atomically
from eps_resnet.files.errors import UserError


def read_text(path: Path) -> str:
    """The text of the file with its own line ends."""
    return path.read_bytes().decode()


def appended(text: str, section: str, lines: str) -> str:
    """The text with whole lines after the last one of a section, `datasets`, `runs` or `figures`.

    Raises UserError if there is no such section with entries below its name.
    """
    head = re.search(rf"^{section}:[ \t]*(#.*)?\r?\n", text, re.M)
    if head is None:
        raise UserError(f"it has no line `{section}:` with entries below it")
    end = head.end()
    for line in re.finditer(r"(.*)(\n|$)", text[head.end() :]):
        if line[1].strip() and not line[1].startswith((" ", "\t")):
            if not line[1].startswith("#"):
                break  # the next section; a remark that is not indented belongs to what follows it
        elif line[1].strip():
            end = head.end() + line.end()
    before = text[:end] if text[:end].endswith("\n") else text[:end] + "\n"
    return before + lines + text[end:]


def replace(path: Path, text: str, expected: Registry) -> Registry:
    """Gives the file this text, if that is the expected registry, and returns it.

    Raises UserError, which says why not, and leaves the file as it is where the text is another one, or none.
    """
    path = path.resolve()  # a link stays one
    temporary = path.with_name(f".{path.name}.new")
    try:
        write_atomically(temporary, lambda part: part.write_bytes(text.encode()))
        if load(temporary) != expected:
            raise UserError("it would not be the old registry with what is added")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return load(path)


@contextmanager
def or_by_hand(path: Path, parts: Mapping[str, str]) -> Iterator[None]:
    """Within, a UserError says as well that the file is as it was, and which lines to put into its sections."""
    try:
        yield
    except UserError as error:
        by_hand = "\n".join(f"{section}:\n{lines}" for section, lines in parts.items())
        raise UserError(
            f"{path} cannot be added to ({error}). It was left as it is; put these lines into it yourself:\n{by_hand}"
        ) from None
