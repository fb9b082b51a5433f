"""Results made here against committed ones, and the JSON documents they are kept in."""

import json
from pathlib import Path

import pytest

from eps_resnet.evidence.reproduction import block_tolerance, reproduce
from eps_resnet.experiments.layout import Layout
from eps_resnet.files.atomic import write_json
from eps_resnet.provenance import records
from eps_resnet.provenance.records import Metrics
from tests.conftest import PROJECT


def test_a_reproduction_is_judged_by_its_errors_and_its_blocks(tmp_path: Path) -> None:
    here, committed = Layout(tmp_path / "here"), Layout(tmp_path / "there")

    def write(layout: Layout, wrong: int, discarded: int) -> None:
        there = records.read(Metrics, PROJECT / "results/digits-20-standard-s0/metrics.json")
        assert there is not None
        error = there.error.model_copy(update={"pruned": wrong / 360})
        changed = {"error": error, "test_images": 360, "blocks": [18, 18, 18], "discarded": discarded}
        records.write(layout.run("run").metrics, there.model_copy(update=changed))

    def verdict() -> str:
        return reproduce(["run"], here, committed)[0].verdict

    write(committed, 6, 40)
    assert verdict() == "not comparable"
    for wrong, discarded, expected in (
        (6, 40, "identical"),
        (12, 40, "reproduced"),  # the interval of 6 in 360 reaches from 2.2 to 12.9
        (13, 40, "differs"),
        (6, 40 + block_tolerance(54), "reproduced"),
        (6, 41 + block_tolerance(54), "differs"),
        (40, 40, "differs"),
    ):
        write(here, wrong, discarded)
        assert verdict() == expected


def test_code_that_changed_no_number_leaves_a_reproduction_identical(tmp_path: Path) -> None:
    here, committed = Layout(tmp_path / "here"), Layout(tmp_path / "there")
    found = records.read(Metrics, PROJECT / "results/digits-20-standard-s0/metrics.json")
    assert found is not None
    records.write(committed.run("run").metrics, found)
    records.write(here.run("run").metrics, found.model_copy(update={"fingerprint": "0" * 16, "model_sha256": "0" * 64}))
    assert reproduce(["run"], here, committed)[0].verdict == "identical"
    one_more = [found.wrong_per_batch.pruned[0] + 1, *found.wrong_per_batch.pruned[1:]]
    batches = found.wrong_per_batch.model_copy(update={"pruned": one_more})
    records.write(here.run("run").metrics, found.model_copy(update={"wrong_per_batch": batches}))
    assert reproduce(["run"], here, committed)[0].verdict == "reproduced"


def test_json_documents_hold_no_infinity_or_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Out of range"):
        write_json(tmp_path / "x.json", {"error": float("nan")})
    assert not (tmp_path / "x.json").exists()
    write_json(tmp_path / "x.json", {"error": 0.1})
    assert json.loads((tmp_path / "x.json").read_text()) == {"error": 0.1}
