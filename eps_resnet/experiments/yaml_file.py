"""A YAML file written by hand, read with messages that name the line; and a document's mistakes in words."""

import json
import reprlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import yaml
from pydantic import ValidationError
from yaml.composer import Composer

from eps_resnet.files.errors import UserError

LARGEST_FILE = 2**20  # bytes
MOST_NODES = 50_000  # keys, values, lists and mappings, with every alias written out; the project's own has 1,500
LONGEST_LINE, MOST_MISTAKES = 400, 20  # of a message: characters in a line, mistakes that are named

_REPR = reprlib.Repr()  # cuts off what is long or deep
_REPR.maxlevel, _REPR.maxstring, _REPR.maxother = 2, 60, 60


def read_as_json(path: Path) -> str:
    """The document in a registry's file as JSON, of which each value has one type; not yet checked.

    Raises UserError if the file cannot be read, is too large, or is no YAML, and where a key stands twice.
    """
    where = shown(path)
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except FileNotFoundError:
        raise UserError(f"No registry at {where}; run from the top folder of the project.") from None
    except OSError as error:
        raise UserError(f"The registry {where} cannot be read: {error.strerror}.") from None
    if len(content) > LARGEST_FILE:
        raise UserError(f"{where} is no registry: it has more than {LARGEST_FILE:,} bytes.")
    try:
        loader = _Loader(content.decode())
        node = loader.get_single_node()
        _check(node)
        return json.dumps(loader.construct_document(node) if node else None, default=str)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        words = f"line {mark.line + 1 if mark else 1}: {', '.join(filter(None, (error.context, error.problem)))}"
    except RecursionError:
        words = "it has too many lists and mappings inside one another"
    # What PyYAML and json raise where bytes are no UTF-8, or where a tag, a number or a date cannot be.
    except (yaml.YAMLError, ValueError, LookupError, ArithmeticError, TypeError, AttributeError) as error:
        words = " ".join(str(error).split())
    raise UserError(f"{where} is not valid YAML: {shown(words)}")


class _Loader(Composer, yaml.CSafeLoader):
    """libyaml's fast parser, with PyYAML's own composer: libyaml's ends the process where lists are nested deeply."""

    def __init__(self, text: str) -> None:
        yaml.CSafeLoader.__init__(self, text)
        Composer.__init__(self)


def _check(root: yaml.Node | None) -> None:
    """Refuses a key that stands twice, of which one would silently win, and aliases that explode."""
    nodes = [root]
    for node in nodes:  # which grows: what an alias stands for is looked at each time
        if isinstance(node, yaml.SequenceNode):
            nodes.extend(node.value)
        elif isinstance(node, yaml.MappingNode):
            seen = set[str]()
            for key, value in node.value:
                if isinstance(key, yaml.ScalarNode):
                    if key.value in seen:
                        problem = f"the key {_REPR.repr(key.value)} stands here twice; leave one of them"
                        raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
                    seen.add(key.value)
                nodes.extend((key, value))
        if node and len(nodes) > MOST_NODES:
            problem = f"a registry has no more than {MOST_NODES:,} keys and values"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)


def explain(error: ValidationError) -> Iterator[str]:
    """One line for each mistake of a document: its place, what is allowed, what was found; the first ones of many."""
    mistakes = error.errors(include_url=False)
    for item in islice(mistakes, MOST_MISTAKES):
        where = ".".join(map(str, item["loc"]))
        place = f"{where}: " if where else ""
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            message = "this key is not known"
        if item["type"] == "float_type" and isinstance(item["input"], str):
            message += " (YAML wants a dot in it, as in 1.0e-4)"
        found = "" if isinstance(item["input"], dict) else f", found {_REPR.repr(item['input'])}"
        yield shown(f"  {place}{message}{found}")
    if len(mistakes) > MOST_MISTAKES:
        yield f"  and {len(mistakes) - MOST_MISTAKES:,} mistakes more"


def shown(words: object) -> str:
    """Words as one short line of a message: a terminal obeys control characters, so they are escaped."""
    text = str(words)
    line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[: LONGEST_LINE + 1])
    return line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]} ..."
