"""A YAML file written by hand, read with messages that name the line; and a document's mistakes in words."""

import reprlib
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from yaml.composer import Composer

from eps_resnet.files.errors import UserError

# A registry is written by hand: what is larger than this is none, and is not read any further.
LARGEST_FILE = 2**20  # bytes


MOST_NODES = 50_000  # keys, values, lists and mappings, with every alias written out; the project's own has 1,500


DEEPEST = 20  # lists and mappings inside one another


LONGEST_TEXT, LONGEST_NUMBER = 2000, 40  # characters


READ_OTHERWISE = set("\t!\ufeff")  # tabs, tags, byte order marks: libyaml takes them otherwise than PyYAML


LONGEST_LINE, MOST_MISTAKES = 400, 20  # of a message: characters in a line, mistakes that are named


def read(path: Path) -> dict[str, Any]:
    """The document in a registry's file, not yet checked: mappings with texts as keys, lists, texts, numbers, null.

    Raises UserError if the file cannot be read, is too large, or is no YAML that a registry may consist of.
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
        document = _parse(content.decode())
    except UnicodeDecodeError as error:
        raise UserError(f"{where} is not valid YAML: byte {error.start:,} is no UTF-8 ({error.reason}).") from None
    except yaml.reader.ReaderError as error:
        raise UserError(
            f"{where} is not valid YAML: character {error.position:,} is the control character "
            f"U+{error.character:04X}; delete it."
        ) from None
    except _Refusal as error:
        raise UserError(f"{where}, line {_line_of(error)}: {shown(error.problem)}") from None
    except yaml.MarkedYAMLError as error:
        words = ", ".join(filter(None, (error.context, error.problem)))
        raise UserError(f"{where} is not valid YAML: line {_line_of(error)}: {shown(words)}") from None
    if not isinstance(document, dict):
        found = _REPR.repr(document)
        raise UserError(f"{where} is no registry: expected datasets, runs and figures, found {shown(found)}.")
    return document


class _Refusal(yaml.MarkedYAMLError):
    """YAML that is no part of a registry."""

    def __init__(self, problem: str, mark: Any) -> None:
        super().__init__(problem=problem, problem_mark=mark)


def _line_of(error: yaml.MarkedYAMLError) -> int:
    mark = error.problem_mark or error.context_mark
    return mark.line + 1 if mark else 1


def _parse(text: str) -> Any:
    """Reads by libyaml, which is faster; what it refuses is read again by PyYAML's own parser, for its messages."""
    if yaml.__with_libyaml__ and not READ_OTHERWISE & set(text):
        with suppress(yaml.YAMLError):
            return _FastLoader(text).get_single_data()
    loader = _Loader(text)
    try:
        return loader.get_single_data()
    except (ValueError, OverflowError):  # what PyYAML itself does not expect
        problem = "an escape (\\U...) or a directive (%YAML ...) has a number that cannot be"
        raise _Refusal(problem, loader.get_mark()) from None
    finally:
        loader.dispose()


class _Composer(Composer):
    """For documents of a bounded size without dates, tags, control characters and repeated keys."""

    PLAIN = "tag:yaml.org,2002:"
    SCALARS = ("str", "int", "float", "bool", "null", "merge")

    def __init__(self) -> None:
        Composer.__init__(self)  # not the next of a loader's several bases, whose constructors do not call one another
        self._nodes = 0  # so far, with aliases written out
        self._level = 0  # of lists and mappings around the present place
        self._deepest = 0  # level inside the present list or mapping
        self._extent: dict[Any, tuple[int, int]] = {}  # nodes in it and levels below it, of each node that is complete

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Counts nodes and levels; what an alias stands for counts each time."""
        event = self.peek_event()  # type: ignore[attr-defined]  # of the loader
        before, deepest_around = self._nodes, self._deepest
        self._level += 1
        self._count(1, 0, event)
        node = super().compose_node(parent, index)
        if isinstance(event, yaml.AliasEvent):
            if node not in self._extent:
                raise _Refusal(f"the alias *{event.anchor} stands inside of what it stands for", event.start_mark)
            self._count(*self._extent[node], event)
        else:
            self._extent[node] = (self._nodes - before, self._deepest - self._level)
        self._level -= 1
        self._deepest = max(deepest_around, self._deepest)
        return node

    def _count(self, nodes: int, levels: int, event: Any) -> None:
        self._nodes += nodes
        self._deepest = self._level + levels
        if self._nodes > MOST_NODES:
            raise _Refusal(f"a registry has no more than {MOST_NODES:,} keys and values", event.start_mark)
        if self._deepest > DEEPEST:
            raise _Refusal(f"a registry has no more than {DEEPEST} levels", event.start_mark)

    def compose_scalar_node(self, anchor: Any) -> yaml.ScalarNode:
        """Refuses what is no short, printable text, number, boolean or null."""
        node = super().compose_scalar_node(anchor)
        kind, value, shown = node.tag.removeprefix(self.PLAIN), node.value, _REPR.repr
        if kind not in self.SCALARS:
            raise _Refusal(
                f"{shown(value)} is of type {shown(kind)}; expected a text (in quotes), a number, true, false or null",
                node.start_mark,
            )
        if not value.isprintable():
            raise _Refusal(
                f"{shown(value)}: a text is one line of printable characters; where it is folded, begin it with >-",
                node.start_mark,
            )
        if len(value) > (LONGEST_NUMBER if kind in ("int", "float") else LONGEST_TEXT):
            raise _Refusal(f"{shown(value)} is too long, it has {len(value):,} characters", node.start_mark)
        if kind != "merge":
            try:
                self.construct_object(node)  # type: ignore[attr-defined]  # of the loader
            except (ValueError, LookupError, ArithmeticError):
                raise _Refusal(f"{shown(value)} is no {kind}", node.start_mark) from None
        return node

    def compose_sequence_node(self, anchor: Any) -> yaml.SequenceNode:
        """Refuses lists with a tag."""
        node = super().compose_sequence_node(anchor)
        self._refuse_tag(node, "seq")
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Refuses mappings with a tag, with keys other than texts, or with a key twice: one would silently win."""
        node = super().compose_mapping_node(anchor)
        self._refuse_tag(node, "map")
        seen: set[str] = set()
        for key, _ in node.value:
            if key.tag not in (f"{self.PLAIN}str", f"{self.PLAIN}merge"):
                raise _Refusal("a key is a text: put it in quotes", key.start_mark)
            if key.value in seen:
                raise _Refusal(f"the key {_REPR.repr(key.value)} stands here twice; leave one of them", key.start_mark)
            seen.add(key.value)
        return node

    def _refuse_tag(self, node: yaml.CollectionNode, kind: str) -> None:
        if node.tag != self.PLAIN + kind:
            raise _Refusal(f"a list or mapping has no tag here, found {_REPR.repr(node.tag)}", node.start_mark)


class _Loader(_Composer, yaml.SafeLoader):
    """The safe loader."""

    def __init__(self, text: str) -> None:
        yaml.SafeLoader.__init__(self, text)
        _Composer.__init__(self)


if yaml.__with_libyaml__:

    class _FastLoader(_Composer, yaml.CSafeLoader):
        """The safe loader with libyaml's scanner and parser."""

        def __init__(self, text: str) -> None:
            yaml.CSafeLoader.__init__(self, text)
            _Composer.__init__(self)


_REPR = reprlib.Repr()  # cuts off what is long or deep


_REPR.maxlevel, _REPR.maxstring, _REPR.maxother = 2, 60, 60


def explain(error: ValidationError) -> Iterator[str]:
    """One line for each mistake of a document: its place, what is allowed, what was found; the first ones of many."""
    mistakes = error.errors(include_url=False)
    for item in islice(mistakes, MOST_MISTAKES):
        where = ".".join(part if len(part) <= 64 else f"{part[:60]}..." for part in map(str, item["loc"]))
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            message = "this key is not known"
        if item["type"] == "float_type" and isinstance(item["input"], str):
            message += " (YAML wants a dot in it, as in 1.0e-4)"
        found = "" if isinstance(item["input"], dict) else f", found {_REPR.repr(item['input'])}"
        yield shown(f"  {where}: {message}{found}" if where else f"  {message}")
    if len(mistakes) > MOST_MISTAKES:
        yield f"  and {len(mistakes) - MOST_MISTAKES:,} mistakes more"


def shown(words: object) -> str:
    """Words as one short line of a message: a terminal obeys control characters, so they are escaped."""
    text = str(words)
    line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[: LONGEST_LINE + 1])
    return line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]} ..."
