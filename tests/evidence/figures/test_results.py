"""Means and intervals over seeds, points along an axis of depths, and what is said beside the numbers."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eps_resnet.evidence import statistics
from eps_resnet.evidence.figures import cells, remarks, results
from eps_resnet.evidence.statistics import LEAST_SEEDS
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.registry import Registry
from eps_resnet.files.atomic import write_json
from tests.evidence.figures.conftest import OPEN

errors = st.lists(st.integers(0, 360).map(lambda wrong: wrong / 360), min_size=2, max_size=6)


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_the_interval_of_an_error_holds_it(images: int, share: float) -> None:
    wrong = round(share * images)
    low, high = statistics.error_interval(wrong / images, images)
    assert 0 <= low <= wrong / images <= high <= 1


def test_the_interval_of_a_mean_is_students() -> None:
    # Tables of Student's t: 4.3027 for 97.5 % at two degrees of freedom; the standard deviation of 1, 2, 3 is 1.
    low, high = statistics.mean_interval([1, 2, 3])
    assert (low, high) == pytest.approx((2 - 4.3027 / np.sqrt(3), 2 + 4.3027 / np.sqrt(3)), abs=1e-4)
    with pytest.raises(ValueError, match="two runs or more"):
        statistics.mean_interval([1])


@given(errors)
def test_the_interval_of_a_mean_is_centred_on_it_and_shrinks_with_more_of_the_same(values: list[float]) -> None:
    low, high = statistics.mean_interval(values)
    assert (low + high) / 2 == pytest.approx(np.mean(values))
    again_low, again_high = statistics.mean_interval(values * 2)
    assert again_high - again_low <= high - low + 1e-12


@given(errors)
def test_one_seed_has_the_binomial_interval_and_several_students(values: list[float]) -> None:
    rows = pd.DataFrame({"depth": 110, "error": values, "test_images": 360})
    (several,) = results.over_seeds(rows, ["depth"], "error", is_error=True).to_dict("records")
    assert several["mean"] == pytest.approx(np.mean(values))
    if len(values) < LEAST_SEEDS:
        assert np.isnan([several["low"], several["high"]]).all()
    else:
        low, high = statistics.mean_interval(values)
        assert (several["low"], several["high"]) == (max(low, 0), min(high, 1))
    assert several["seeds"] == len(values)
    (one,) = results.over_seeds(rows.head(1), ["depth"], "error", is_error=True).to_dict("records")
    assert (one["low"], one["high"]) == statistics.error_interval(values[0], 360)
    (share,) = results.over_seeds(rows.head(1), ["depth"], "error").to_dict("records")  # of blocks: no test images
    assert np.isnan([share["low"], share["high"]]).all()


def test_an_interval_ends_where_values_must() -> None:
    rows = pd.DataFrame({"depth": 110, "size": [0.1, 0.1, 5.0]})
    (size,) = results.over_seeds(rows, ["depth"], "size", most=np.inf).to_dict("records")
    assert (size["low"], size["high"]) == (0, statistics.mean_interval([0.1, 0.1, 5.0])[1])
    rows["size"] /= 5
    (share,) = results.over_seeds(rows, ["depth"], "size").to_dict("records")
    assert (share["low"], share["high"]) == (0, 1)


@given(errors)
def test_tables_show_the_mean_of_finished_seeds_its_interval_and_how_many_they_are(values: list[float]) -> None:
    run = {"run": "r", "depth": 110, "method": "standard", "epsilon": None, "weight_decay": 0.1, "variant": None}
    run["published"] = 0.5
    rows = [{**run, "seed": seed, "state": "done", "error": value} for seed, value in enumerate(values)]
    missing = {**run, "seed": 99, "state": "not run", "error": None}
    (line,) = cells.means(pd.DataFrame([*rows, missing]), {"error": "error", "published": "paper"}).to_dict("records")
    low, high = statistics.possible_interval(values)
    has_interval = len(set(values)) > 1 and len(values) >= LEAST_SEEDS
    assert line["error"] == f"{np.mean(values):.2%}" + (f" ({low:.2%} to {high:.2%})" if has_interval else "")
    assert (line["seeds"], line["paper"]) == (f"{len(values)} of {len(values) + 1}", "50.00%")
    assert cells.means(pd.DataFrame([rows[0], missing]), {"error": "error"}).empty  # one seed: no mean


def test_runs_that_are_not_done_are_not_in_a_mean() -> None:
    rows = pd.DataFrame({"depth": [110, 110, 200], "size": [1.0, None, None]})
    assert results.over_seeds(rows, ["depth"], "size")[["depth", "mean", "seeds"]].to_numpy().tolist() == [[110, 1, 1]]


def test_depths_are_the_values_of_their_axis_and_epsilons_of_one_depth_stand_beside_each_other() -> None:
    rows = pd.DataFrame(
        {
            "run": ["plain", "plain deep", "a", "b", "c"],
            "depth": [101, 152, 101, 101, 152],
            "epsilon": [None, None, 2.1, 2.0, 1.8],
            "method": ["standard", "standard", *["epsilon_side"] * 3],
        }
    )
    placed, axis = results.along_depth(rows)
    assert axis.values == (101, 152)
    assert axis.labels == ("101\nε 2, 2.1", "152\nε 1.8")
    assert placed.sort_values("position")["run"].tolist() == ["b", "plain", "a", "plain deep", "c"]
    at = placed.set_index("run")["position"]
    assert (at["plain"], at["plain deep"], at["c"]) == (101, 152, 152)
    assert at["plain"] - at["b"] == pytest.approx(at["a"] - at["plain"])


def test_with_one_epsilon_the_labels_are_the_depths_gated_or_not() -> None:
    rows = pd.DataFrame(
        {"depth": [200, 110, 110], "epsilon": [None, None, 2.5], "method": ["standard", "standard", "epsilon_side"]}
    )
    placed, axis = results.along_depth(rows)
    assert axis.labels == ("110", "200")
    assert placed["position"].tolist() == [200, 110, 110]


def test_remarks_count_runs_not_rows_and_seeds_per_point(trained: tuple[Registry, Layout]) -> None:
    experiments, layout = trained
    rows = results.runs_table(experiments, layout, "figure6-digits")
    notes = remarks.remarks_of(experiments, layout, "figure6-digits", pd.concat([rows] * 3))
    assert notes[0] == "4 of 5 runs are done; seeds per point: 1 to 2."


def test_an_altered_copy_of_the_data_is_named(done: tuple[Registry, Layout]) -> None:
    experiments, layout = done
    rows = results.runs_table(experiments, layout, "figure6-digits")
    write_json(layout.data_manifest("digits"), {"differs": "half of the images"})
    notes = remarks.remarks_of(experiments, layout, "figure6-digits", rows)
    assert "Trained on an altered copy of digits: half of the images." in notes


def test_networks_that_predict_otherwise_once_pruned_are_named_though_both_err_alike(
    done: tuple[Registry, Layout],
) -> None:
    experiments, layout = done
    rows = results.runs_table(experiments, layout, "figure6-digits")
    rows["agreement"], rows["error_gated"], rows["error_pruned"] = 0.95, 0.525, 0.534
    rows.loc[rows["run"] == OPEN, "agreement"] = 0.475
    (note,) = [note for note in remarks.remarks_of(experiments, layout, "figure6-digits", rows) if "agree on" in note]
    assert note.endswith(f"less than 95% of the images: {OPEN} (47.5%).")


def test_what_is_said_of_published_numbers_belongs_to_figures_of_the_registry(experiments: Registry) -> None:
    known = {
        (figure.figure, experiments.datasets[figure.dataset].published_name) for figure in experiments.figures.values()
    }
    assert set(remarks.ABOUT_PUBLISHED) <= known


def test_a_details_table_has_a_row_for_a_run_without_details(trained: tuple[Registry, Layout]) -> None:
    experiments, layout = trained
    rows = results.details_table(
        experiments, layout, "figure6-digits", ["x"], lambda e, _: [{"x": 1}, {"x": 2}] if e.key == OPEN else []
    )
    assert rows[rows["run"] == OPEN]["x"].tolist() == [1, 2]
    assert rows[rows["run"] != OPEN]["x"].isna().all()
    assert set(rows["run"]) == set(experiments.runs)
