"""The registry's file as text: what is added stands in its section, and every other byte stays."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from eps_resnet.experiments.edit import appended, replace
from eps_resnet.experiments.registry import load
from eps_resnet.files.errors import UserError
from tests.conftest import small_registry

SECTIONS = ("datasets", "runs", "figures")
FILLERS = st.lists(st.sampled_from(["", "# a remark", "  # an indented one", "   "]), max_size=3)


@given(st.permutations(SECTIONS), st.lists(FILLERS, min_size=6, max_size=6), st.booleans(), st.sampled_from(SECTIONS))
def test_lines_join_their_section_and_no_other_byte_changes(
    order: list[str], fillers: list[list[str]], ends_with_a_line: bool, section: str
) -> None:
    lines: list[str] = []
    for place, name in enumerate(order):
        lines += [*fillers[2 * place], f"{name}: # remark", f"  {name}-1: {{a: 1}}", *fillers[2 * place + 1]]
    text = "\n".join(lines) + ("\n" if ends_with_a_line else "")
    after = appended(text, section, "  new: {b: 2}\n")
    expected = yaml.safe_load(text)
    expected[section]["new"] = {"b": 2}
    assert yaml.safe_load(after) == expected
    assert after.replace("  new: {b: 2}\n", "").rstrip("\n") == text.rstrip("\n")


def test_carriage_returns_stay() -> None:
    assert appended("runs:\r\n  a: 1\r\nfigures:\r\n", "runs", "  b: 2\n") == "runs:\r\n  a: 1\r\n  b: 2\nfigures:\r\n"


@pytest.mark.parametrize("text", ["runs: {a: 1}\n", "", "  runs:\n    a: 1\n"])
def test_a_section_without_lines_of_its_own_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="no line `runs:`"):
        appended(text, "runs", "  b: 2\n")


def test_a_text_that_is_another_registry_leaves_the_file_as_it_is(tmp_path: Path) -> None:
    path = small_registry(tmp_path / "experiments.yaml")
    before, registry = path.read_bytes(), load(path)
    for text in (path.read_text().replace("depth: 8", "depth: 14", 1), "runs: ["):
        with pytest.raises(UserError):
            replace(path, text, registry)
        assert path.read_bytes() == before
        assert [found.name for found in tmp_path.iterdir()] == ["experiments.yaml"]
