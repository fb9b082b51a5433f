"""What docs/cifar10-cpu-pilots.md says of the pilots is what their records say."""

import pandas as pd
import pytest
import yaml

from tests.conftest import PROJECT

PAGE = " ".join((PROJECT / "docs/cifar10-cpu-pilots.md").read_text(encoding="utf-8").split())


def test_the_page_shows_every_pilot_that_ended_and_all_are_in_their_registry() -> None:
    ended = pd.read_csv(PROJECT / "docs/cifar10-cpu-pilots.csv")
    registry = yaml.safe_load((PROJECT / "docs/cifar10-cpu-pilots.yaml").read_text(encoding="utf-8"))
    assert set(ended["run"]) <= set(registry["runs"])
    for row in ended.itertuples():
        errors = f"{100 * row.validation_error_pruned:.1f} % | {100 * row.validation_error_gated:.1f} %"
        assert f"{errors} | {100 * row.validation_error_best:.1f} % (epoch {row.best_epoch}) |" in PAGE


def test_the_page_tells_the_gated_pilot_as_its_history_has_it() -> None:
    history = pd.read_csv(PROJECT / "docs/cifar10-cpu-pilots-g-wd2e3.csv").set_index("epoch")
    assert [history["flickered"][epoch] for epoch in (60, 78, 108, 143)] == [4, 6, 8, 11]
    assert [100 * history["test_error"][epoch] for epoch in (60, 90, 120, 140)] == pytest.approx(
        [23.9, 28.8, 32.9, 34.5], abs=0.05
    )
    assert history["discarded"][42] == history["discarded"][143] == 7
    assert (history["discarded"][144], history["discarded"][150]) == (8, 11)
    assert (history["rate"][144], history["rate"][145]) == (0.001, 0.1)


def test_the_page_tells_the_flickering_at_decay_0_004_as_its_history_has_it() -> None:
    history = pd.read_csv(PROJECT / "docs/cifar10-cpu-pilots-g-wd4e3.csv").set_index("epoch")
    for epoch in (75, 120, 150):
        assert f"{100 * history['test_error'][epoch]:.1f} %" in PAGE
    assert list(history["rate"][[75, 120, 150]]) == [0.001] * 3
    assert history["rate"][121:150].max() == 0.1
    assert list(history["discarded"][[120, 150]]) == [15, 18]
    assert list(history["flickered"][[120, 150]]) == [4, 0]
