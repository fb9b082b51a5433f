"""The benchmarks' own arithmetic, and that the page shows what was measured. What they measure is never tested."""

import json

from hypothesis import given
from hypothesis import strategies as st

from benchmarks import table
from benchmarks.measure import Line, in_turns
from benchmarks.steps import bare_convolutions
from benchmarks.trainings import training_of


def test_the_page_on_speed_shows_the_recorded_figures() -> None:
    text = table.PAGE.read_text()
    assert table.page(text, json.loads(table.RESULTS.read_text())) == text


def test_what_is_recorded_says_rightly_whether_its_goal_is_met() -> None:
    for entry in json.loads(table.RESULTS.read_text())["lines"]:
        values = {name: value for name, value in entry.items() if name not in ("goal", "met")}
        line = Line(**values)
        assert (line.goal, line.met) == (entry["goal"], entry["met"])


@given(st.floats(0.01, 100), st.floats(0.01, 100))
def test_a_goal_is_met_at_its_limit_and_on_the_right_side_of_it(figure: float, limit: float) -> None:
    assert Line("", "", figure, figure, figure, 1, at_most=limit).met == (figure <= limit)
    assert Line("", "", figure, figure, figure, 1, at_least=limit).met == (figure >= limit)
    assert Line("", "", figure, figure, figure, 1).met is None
    assert Line("", "", None, None, None, 1, at_most=limit).met is None


def test_two_things_are_called_equally_often_and_take_turns_in_beginning() -> None:
    calls: list[str] = []
    in_turns(lambda: calls.append("a"), lambda: calls.append("b"), pairs=4)
    assert "".join(calls) == "ab" + "ab" + "ba" + "ab" + "ba"


def test_the_bare_convolutions_are_those_of_the_network() -> None:
    architecture = training_of(20).network.architecture
    calls = bare_convolutions(architecture)()
    assert isinstance(calls, list)
    assert len(calls) == 1 + 2 * 9  # the stem, and two of each block
