"""Plans: which runs a target needs, what is left of them, what that costs, and how the speed is known."""

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, replace
from fractions import Fraction
from pathlib import Path
from typing import Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from eps_resnet.cli import app
from eps_resnet.evidence import published
from eps_resnet.experiments import registry
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.registry import Registry
from eps_resnet.experiments.targets import runs_of
from eps_resnet.files.atomic import read_json, write_json
from eps_resnet.files.errors import UserError
from eps_resnet.method.loop import train_step
from eps_resnet.method.networks.architecture import architecture_of
from eps_resnet.method.networks.resnet import ResNet
from eps_resnet.method.state import Training
from eps_resnet.operations import calibration, plan, speed
from eps_resnet.provenance import state
from eps_resnet.provenance.fingerprints import training_fingerprint
from eps_resnet.runs import checkpoint, cost, device
from eps_resnet.runs.networks import prune_run
from eps_resnet.runs.train import train
from tests.conftest import small_registry

CPU = torch.device("cpu")
GATED, STANDARD = "digits-8-epsilon_side-2p5-s0", "digits-8-standard-s0"


def _items(experiments: Registry, layout: Layout, *targets: str) -> dict[str, plan.Item]:
    keys = runs_of(experiments, targets)
    return {item.key: item for item in plan.plan([experiments.experiment(key, layout) for key in keys], {})}


def test_a_target_needs_the_runs_that_snakemake_makes_for_it(experiments: Registry) -> None:
    paper = [key for key, run in experiments.runs.items() if experiments.datasets[run.dataset].is_papers]
    assert runs_of(experiments, ["all"]) == paper
    assert runs_of(experiments, ["demo"]) == [key for key in experiments.runs if key.startswith("digits-")]
    cpu = [key for key, run in experiments.runs.items() if run.dataset == "cifar10-cpu"]
    assert runs_of(experiments, ["cifar10-cpu"]) == cpu
    for name in experiments.figures:
        assert runs_of(experiments, [name]) == list(experiments.runs_of(name))
    key = "cifar10-752-epsilon_side-2p5-s0"
    assert runs_of(experiments, [key, "figure9-cifar10"]) == [key]  # each run once


def test_an_unknown_target_is_refused_with_the_nearest(experiments: Registry) -> None:
    with pytest.raises(UserError, match=r"No target is called 'figure6-cifar'.*did you mean figure6-cifar10"):
        runs_of(experiments, ["figure6-cifar"])


def test_what_is_left_of_a_run_shrinks_from_missing_to_partial_to_trained_to_done(
    small: tuple[Registry, Layout], monkeypatch: pytest.MonkeyPatch
) -> None:
    experiments, layout = small

    def left() -> tuple[str, int]:
        item = _items(experiments, layout, GATED)[GATED]
        assert (item.epochs_left > 0) == (item.hours > 0) == (item.disk_bytes > 0) == (item.memory_bytes > 0)
        return item.state, item.epochs_left

    assert left() == ("missing", 2)
    work = layout.work(training_fingerprint(experiments.experiment(GATED, layout)))
    checkpoint.save(work, {}, {"epoch": 1, "step": 12})
    assert left() == ("partial", 1)
    checkpoint.save(work, {}, {"epoch": 2, "step": 22})  # the newest counts; the results are not written yet
    assert left() == ("partial", 0)
    checkpoint.remove(work)
    train(experiments.experiment(GATED, layout), CPU, threads=1)
    assert left() == ("partial", 0)
    prune_run(experiments.experiment(GATED, layout))
    layout.run(GATED).model.rename(layout.root / "kept")
    assert left() == ("partial", 2)  # the network is gone before it was evaluated: Snakemake would train again
    monkeypatch.setattr(state, "is_evaluated", lambda *_: True)
    assert left() == ("done", 0)  # after that it may be absent


def test_the_totals_are_the_sums_of_the_runs_and_the_most_that_one_training_takes(
    experiments: Registry, tmp_path: Path
) -> None:
    layout = Layout(tmp_path)
    items = plan.plan([experiments.experiment(key, layout) for key in experiments.runs], {})
    totals = plan.totals(experiments, layout, items)
    whole = totals.pop("total")
    assert list(totals) == list(experiments.datasets)
    assert whole.runs == len(experiments.runs) == sum(part.runs for part in totals.values())
    assert whole.done == 0
    assert whole.gpu_hours == pytest.approx(sum(part.gpu_hours for part in totals.values()))
    assert (totals["digits"].gpu_hours, totals["cifar10"].core_hours) == (0, 0)
    assert totals["digits"].core_hours == pytest.approx(sum(i.hours for i in items if i.key.startswith("digits")))
    assert whole.memory_bytes == totals["imagenet"].memory_bytes == max(item.memory_bytes for item in items)
    assert whole.data_bytes == sum(part.data_bytes for part in totals.values())


def test_a_data_set_that_is_stored_is_not_counted_again(small: tuple[Registry, Layout], tmp_path: Path) -> None:
    experiments, layout = small
    stored = layout.store("digits").stat().st_size
    assert cost.stored_bytes(experiments.datasets["digits"]) == pytest.approx(stored, rel=0.01)
    assert cost.data_bytes(layout, "digits", experiments.datasets["digits"]) == 0
    assert cost.data_bytes(Layout(tmp_path / "elsewhere"), "digits", experiments.datasets["digits"]) > 0


def test_the_official_archives_all_have_a_known_size(experiments: Registry) -> None:
    for data in experiments.datasets.values():
        known = cost.download_bytes(data)
        assert known is not None
        assert (known > 0) == bool(data.archives[0].urls)


def test_a_trained_run_takes_the_disk_that_was_planned(small: tuple[Registry, Layout]) -> None:
    experiments, layout = small
    planned = _items(experiments, layout, STANDARD)[STANDARD]
    experiment = experiments.experiment(STANDARD, layout)
    train(experiment, CPU, threads=1)
    prune_run(experiment)
    found = sum(path.stat().st_size for path in (experiment.files.model, experiment.files.pruned))
    assert planned.disk_bytes == pytest.approx(found, rel=0.1)  # file headers, and the mean image


KEPT_BY_A_STEP = (
    *("digits-20-standard-s0", "cifar10-110-epsilon_side-2p5-s0", "svhn-110-standard_side-s0"),
    *("imagenet-101-standard-s0", "imagenet-152-epsilon_side-1p8-s0"),
)


@pytest.mark.parametrize("padding", ["same", "symmetric"])
@pytest.mark.parametrize("key", KEPT_BY_A_STEP)
def test_the_cost_counted_from_shapes_is_that_of_the_real_network(
    experiments: Registry, key: str, padding: Literal["same", "symmetric"]
) -> None:
    experiment = experiments.experiment(key, Layout())
    data, recipe = experiment.data, experiment.recipe.model_copy(update={"stride_padding": padding, "slices": 1})
    architecture = architecture_of(replace(experiment, recipe=recipe))
    with torch.device("meta"):  # shapes without numbers; gates compare numbers, so that there are none
        network = ResNet(replace(architecture, gated=False)).train()
        images = torch.empty(2, data.channels, data.size, data.size)
    counted = cost._count(architecture, data.size, 2)
    assert counted.activation_bytes == _kept_bytes(network, images)
    assert counted.parameters == sum(parameter.numel() for parameter in network.parameters())
    assert counted.file_bytes == sum(tensor.nbytes for tensor in network.state_dict().values())


@pytest.mark.parametrize("key", ["digits-20-standard-s0", "digits-20-standard_side-s0"])
def test_the_counted_cost_is_that_of_a_real_training_step(experiments: Registry, key: str) -> None:
    experiment = experiments.experiment(key, Layout())
    network, data = ResNet(architecture_of(experiment)).train(), experiment.data
    real = _kept_bytes(network, torch.randn(experiment.recipe.batch, data.channels, data.size, data.size))
    counted = cost.network_cost(experiment)
    assert counted.activation_bytes == pytest.approx(real, rel=0.05)  # CPU kernels keep a little otherwise


def _kept_bytes(network: ResNet, images: torch.Tensor) -> int:
    """What autograd keeps for the backward pass beside the parameters; several of its tensors may be views of one."""
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor.untyped_storage()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        outputs = network(images)  # held: what autograd keeps lives as long
    own = {parameter.untyped_storage()._cdata for parameter in network.parameters()}
    bytes_kept = sum(storage.nbytes() for key, storage in kept.items() if key not in own)
    del outputs
    return bytes_kept


@given(st.sampled_from(["cifar10-110-standard-s0", "imagenet-101-standard-s0"]), st.integers(1, 1000))
def test_the_work_of_epochs_adds_up(key: str, epochs: int) -> None:
    experiment = registry.load(Path("config/experiments.yaml")).experiment(key, Layout())
    one = cost.training_multiply_adds(experiment, 1)
    assert cost.training_multiply_adds(experiment, epochs) == pytest.approx(epochs * one)


@given(
    st.fractions(0, 10), st.fractions("1/1000000000", 1), st.integers(1, 10**9), st.integers(1, 10**9),
    st.integers(1, 10**13),
)  # fmt: skip
def test_times_on_a_line_are_extended_along_it(
    fixed: Fraction, each: Fraction, first: int, more: int, whole: int
) -> None:
    """In fractions, so that equal means equal."""
    work = [first, first + more]
    seconds = [fixed + each * amount for amount in work]
    assert calibration.extended(work, seconds, whole) == fixed + each * whole  # type: ignore[arg-type]
    assert calibration.extended([first], [fixed], whole) == fixed


def test_times_that_do_not_grow_with_the_network_are_refused() -> None:
    with pytest.raises(UserError, match="such times say nothing"):
        calibration.extended([100, 200], [2.0, 1.9], 1000)


@pytest.mark.parametrize(
    ("key", "timed"),
    [
        ("digits-110-standard-s0", ((110, 128),)),
        ("cifar10-110-epsilon_side-2p5-s0", ((110, 128),)),
        ("cifar10-752-epsilon_side-2p5-s0", ((20, 128), (56, 128))),
        ("imagenet-152-standard-s0", ((14, 6), (101, 6))),
    ],
)
def test_a_core_is_given_smaller_networks_where_a_step_would_be_long(
    experiments: Registry, key: str, timed: tuple[tuple[int, int], ...]
) -> None:
    experiment = experiments.experiment(key, Layout())
    assert calibration.what_is_timed(experiment, CPU) == timed
    for depth, batch in timed:
        assert cost.memory_bytes(calibration.of_depth(experiment, depth), batch) < calibration.CPU_ROOM


def _timing(experiments: Registry, key: str, seconds: float) -> speed.Timing:
    work = cost.step_multiply_adds(experiments.experiment(key, Layout()))
    return speed.Timing("cpu", work, seconds, ((experiments.run(key).depth, 128),))


def test_a_measured_speed_replaces_the_assumed_one_and_the_plan_says_so(experiments: Registry, tmp_path: Path) -> None:
    key, other = "cifar10-110-standard-s0", "cifar10-200-standard-s0"
    timings = {"cifar10-110-standard": _timing(experiments, key, 2.0)}
    measured, assumed = plan.plan([experiments.experiment(k, Layout(tmp_path)) for k in (key, other)], timings)
    assert (measured.device, measured.speed) == ("cpu", "measured")
    images = 390 * 128 + 10_000 / 3  # an epoch's, and the test images, whose backward pass is not run
    assert measured.hours == pytest.approx(200 * images / 128 * 2.0 / 3600, rel=1e-6)
    assert (assumed.device, assumed.speed) == ("gpu", "published")
    timings["cifar10-110-standard"] = replace(timings["cifar10-110-standard"], timed=((20, 128), (56, 128)))
    assert plan.plan([experiments.experiment(key, Layout(tmp_path))], timings)[0].speed == "scaled"
    timings["cifar10-110-standard"] = replace(timings["cifar10-110-standard"], multiply_adds=1)  # of another network
    assert plan.plan([experiments.experiment(key, Layout(tmp_path))], timings)[0].speed == "published"


def test_the_gpus_speed_is_what_the_published_times_and_counted_multiply_adds_give(experiments: Registry) -> None:
    times = published.matching(published.numbers(), metric="training_hours")
    names = {data.published_name: name for name, data in experiments.datasets.items() if data.is_papers}
    assert len(times) == 4
    found: dict[str, list[float]] = {"cifar": [], "imagenet": []}
    for time in times:
        network = (names[time.dataset], time.depth, time.method, time.epsilon)
        run = next(r for r in experiments.runs.values() if (r.dataset, r.depth, r.method, r.epsilon) == network)
        experiment = experiments.experiment(run.key, Layout())
        numbers = [int(number) for number in re.findall(r"(\d+) (?:epochs|V100)", time.note)]
        epochs, cards = (None, numbers[0]) if "V100" in time.note else (numbers[0], 1)
        seconds = 3600 * time.value * cards
        found[experiment.recipe.network].append(cost.training_multiply_adds(experiment, epochs) / seconds)
    for family, speeds in found.items():
        assert min(speeds) <= cost.GPU_MULTIPLY_ADDS_PER_SECOND[family] * 1.01
        assert max(speeds) >= cost.GPU_MULTIPLY_ADDS_PER_SECOND[family]
        assert max(speeds) / min(speeds) < 1.2


@pytest.mark.parametrize("fact", ["device", "processor", "torch", "threads"])
def test_timings_of_another_machine_are_ignored_and_the_plan_says_why(
    experiments: Registry, tmp_path: Path, fact: str
) -> None:
    layout, key = Layout(tmp_path), "digits-20-standard-s0"
    timings = {"digits-20-standard": _timing(experiments, key, 1.0)}
    document = {"machine": speed.here(), "networks": {name: asdict(timing) for name, timing in timings.items()}}
    write_json(layout.speed, document)
    found, ignored = speed.read_timings(layout)
    assert (found["digits-20-standard"].seconds, ignored) == (1.0, None)
    write_json(layout.speed, {**document, "machine": {**speed.here(), fact: "another"}})
    found, ignored = speed.read_timings(layout)
    assert found == {}
    assert ignored is not None
    assert f"{fact} another there" in ignored
    documents: list[object] = [[], {"machine": {}}, {**document, "networks": {"digits-20-standard": {"seconds": 1}}}]
    for damaged in documents:
        write_json(layout.speed, damaged)
        found, ignored = speed.read_timings(layout)
        assert (found, ignored is not None) == ({}, True)


@pytest.fixture
def threads() -> Iterator[None]:
    """The number of threads as it was."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
def test_calibrating_times_each_network_of_the_target_and_the_plan_then_uses_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "has_gpu", lambda: False)
    file = small_registry(tmp_path / "experiments.yaml")
    options = ["--json", "--root", str(tmp_path), "--registry", str(file)]
    before = json.loads(CliRunner().invoke(app, ["plan", GATED, *options]).stdout)
    assert [run["speed"] for run in before["runs"]] == ["assumed"]
    assert not (tmp_path / "work").exists()
    result = CliRunner().invoke(app, ["plan", GATED, STANDARD, "--calibrate", *options])
    assert "digits-8-standard: " in result.stderr
    timings = read_json(tmp_path / "work/speed.json")["networks"]
    assert set(timings) == {"digits-8-standard", "digits-8-epsilon_side"}  # what the targets need, no more
    after = json.loads(CliRunner().invoke(app, ["plan", "demo", *options]).stdout)
    for run in after["runs"]:
        timing = timings.get(run["key"].removesuffix("-s0").removesuffix("-2p5"))
        assert run["speed"] == ("measured" if timing else "assumed")
        if timing:
            assert timing["timed"] == [[8, 128]]
            per_second = timing["multiply_adds"] / timing["seconds"]
            assert run["hours"] == pytest.approx(run["multiply_adds"] / per_second / 3600)


@pytest.mark.usefixtures("threads")
def test_two_networks_that_are_too_large_share_the_timing_of_their_stand_ins(
    experiments: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "has_gpu", lambda: False)
    monkeypatch.setattr(calibration, "STAND_INS", {"cifar": (8, 14)})
    monkeypatch.setattr(calibration, "STEP_SECONDS", 0.01)
    timed = []

    def count(training: Training, batch: torch.Tensor, labels: torch.Tensor, rate: float) -> object:
        timed.append(training.run.depth)
        return train_step(training, batch, labels, rate)

    monkeypatch.setattr(calibration, "train_step", count)
    monkeypatch.setattr(calibration, "_now", lambda where: float(sum(timed)))  # no other process slows this clock
    layout = Layout(tmp_path)
    runs = [experiments.experiment(f"digits-{depth}-standard-s0", layout) for depth in (56, 110)]
    calibration.calibrate(layout, runs)
    steps = calibration.WARM_UP + calibration.TIMED
    assert timed == [8] * steps + [14] * steps
    small, large = (speed.read_timings(Layout(tmp_path))[0][f"digits-{depth}-standard"] for depth in (56, 110))
    assert small.timed == large.timed
    assert small.seconds < large.seconds


def test_the_plan_fits_80_columns(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("eps_resnet.cli.printing.WIDE", 80)
    lines = CliRunner().invoke(app, ["plan", "all", "demo", "--root", str(tmp_path)]).stdout.splitlines()
    rows = [line for line in lines if "-s0 " in line]
    assert len(rows) == 61
    assert {line.split()[-1] for line in rows} == {"assumed", "published"}  # nothing wrapped
    assert max(map(len, lines)) <= 80


def test_first_seeds_come_before_further_ones_and_cheap_trainings_before_dear_ones(experiments: Registry) -> None:
    runs = [run.model_copy(update={"seed": seed}) for run in experiments.runs.values() for seed in range(3)]
    several = experiments.model_copy(update={"runs": {run.key: run for run in runs}})
    order = plan.in_order_of_worth(several)
    assert sorted(order) == sorted(several.runs)
    worth = [(several.runs[key].seed, cost.training_multiply_adds(several.experiment(key, Layout()))) for key in order]
    assert worth == sorted(worth)


def test_a_configuration_without_seed_0_has_a_first_seed_too(experiments: Registry) -> None:
    key = "digits-110-epsilon_side-2p5-s0"  # the dearest of the demo
    late = experiments.runs[key].model_copy(update={"seed": 7})
    others = {other: run for other, run in experiments.runs.items() if run.dataset == "digits" and run.depth == 20}
    fewer = experiments.model_copy(update={"runs": {late.key: late, **others}})
    order = plan.in_order_of_worth(fewer)
    assert order.index(late.key) == 3  # after the three first seeds of depth 20, before their second ones
