"""Measures a run's pruned network anew and compares what its record says: all of it that needs no training."""

from dataclasses import dataclass
from typing import Any, Literal

import torch

from eps_resnet.data import manifest as data_manifest
from eps_resnet.data.fetch import fetch
from eps_resnet.experiments.experiment import Experiment
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.registry import Registry
from eps_resnet.files.atomic import read_json
from eps_resnet.files.digests import is_sealed, sha256
from eps_resnet.files.errors import UserError
from eps_resnet.measure.size import MIB, size_of
from eps_resnet.method.inputs.open import open_batches
from eps_resnet.method.networks.resnet import ResNet
from eps_resnet.method.predict import Predictions, predict
from eps_resnet.provenance import records
from eps_resnet.provenance.records import Manifest, Metrics
from eps_resnet.runs.networks import load_pruned

ROUNDING = 2  # images that the rounding of another processor may put into another class; digits have 360, CIFAR 10,000
SHOWN = 8  # batches whose counts are shown one by one

Verdict = Literal["same", "within rounding", "differs"]


@dataclass(frozen=True)
class Finding:
    """One value as it is recorded and as it is measured here, for people."""

    what: str
    recorded: str
    measured: str
    verdict: Verdict


@dataclass(frozen=True)
class Check:
    """What was compared of a run. It agrees if nothing differs; rounding is no difference."""

    key: str
    agrees: bool
    findings: list[Finding]

    @property
    def differing(self) -> list[str]:
        """What is not as it is recorded."""
        return [finding.what for finding in self.findings if finding.verdict == "differs"]


def check(registry: Registry, layout: Layout, key: str, source: str | None = None) -> Check:
    """Compares a run's record with its pruned network, measured on its test images.

    Images that are not here are fetched, from `source` if it is given, into a folder of their own. Raises UserError if
    record or network are missing, or no accepted images can be had.
    """
    experiment = registry.experiment(key, layout)
    manifest, metrics = _record(experiment)
    found = [_sealed(experiment), _exact("network", metrics.pruned_sha256, sha256(experiment.files.pruned), 12)]
    if found[-1].verdict == "same":  # of another one's file nothing need even be a network
        network = load_pruned(experiment, manifest.model_sha256)
        found += _sizes(experiment, network, metrics)
        images = _images(registry, layout, experiment, source)
        batches = open_batches(registry.experiment(key, images), torch.device("cpu"))
        found.append(_same_images(experiment, manifest, images))
        found += _errors(metrics, predict(network, batches))
    return Check(key, all(finding.verdict != "differs" for finding in found), found)


def _record(experiment: Experiment) -> tuple[Manifest, Metrics]:
    key, files = experiment.key, experiment.files
    manifest, metrics = records.read(Manifest, files.manifest), records.read(Metrics, files.metrics)
    if manifest is None or metrics is None:
        path = files.manifest if manifest is None else files.metrics
        problem = "is not as it is written here" if path.exists() else "is missing"
        raise UserError(f"{path} {problem}, so there is no record to check {key} by; `git checkout` or train it.")
    if not files.pruned.exists():
        raise UserError(
            f"{files.pruned} is not here. Git has the pruned networks that `eps-resnet check --all` names; any other "
            f"comes by `dvc pull {files.pruned}` if DVC has it, or by `eps-resnet prune {key}` from a trained network."
        )
    return manifest, metrics


def _images(registry: Registry, layout: Layout, experiment: Experiment, source: str | None) -> Layout:
    """The root below which the images lie: the project's own if they are there, else one that they are fetched into.

    Fetched over the project's own, another copy of a data set would make all results on it stale.
    """
    name = experiment.run.dataset
    if source is None and layout.store(name).exists():
        return layout
    fetch(registry, layout.checks, name, source)
    return layout.checks


def _sealed(experiment: Experiment) -> Finding:
    is_whole = is_sealed(read_json(experiment.files.metrics)) and is_sealed(read_json(experiment.files.manifest))
    return Finding("records", "sealed", "unaltered" if is_whole else "altered", "same" if is_whole else "differs")


def _sizes(experiment: Experiment, network: ResNet, metrics: Metrics) -> list[Finding]:
    shape, parameters = network.architecture, sum(weights.numel() for weights in network.parameters())
    kept = [len(stage) for stage in shape.kept]
    operations = size_of(shape, experiment.data.size).multiply_adds
    return [
        _exact("blocks kept", metrics.kept, kept),
        _exact("blocks discarded", metrics.discarded, sum(experiment.blocks) - sum(kept)),
        _exact("layers", metrics.layers.kept, 2 + shape.layers_per_block * sum(kept)),
        _exact("parameters", metrics.after.parameters, parameters),
        _exact("MiB", metrics.after.size_mib, parameters * 4 / MIB),
        _exact("multiply-adds", metrics.after.multiply_adds, operations),
    ]


def _same_images(experiment: Experiment, manifest: Manifest, images: Layout) -> Finding:
    """Whether the images below the root `images` are those that the run was made from; other copies by their names."""
    name, recorded = experiment.run.dataset, str(manifest.made_from.get("data"))
    known, here = data_manifest.read(experiment.layout, name), data_manifest.read(images, name)
    measured = str(here.sha256 if here else None)
    if recorded == measured:
        return _exact("images", recorded, measured, 12)
    copies = {data.sha256: f", {data.copy}" for data in (known, here) if data}
    then, now = (f"{digest:.12}{copies.get(digest, '')}" for digest in (recorded, measured))
    return Finding("images", then, now, "differs")


def _errors(metrics: Metrics, found: Predictions) -> list[Finding]:
    images, batches, error = len(found.right), found.wrong_per_batch, metrics.error
    then = metrics.wrong_per_batch.pruned
    apart = sum(abs(a - b) for a, b in zip(then, batches, strict=True)) if len(then) == len(batches) else images
    is_one_error = error.settled in (None, error.pruned) and sum(then) == round(error.pruned * images)
    return [
        _exact("test images", metrics.test_images, images),
        _share("wrong", error.pruned if is_one_error else None, found.error, images),
        _share("wrong, top 5", error.pruned_top5, found.top5_error, images),
        Finding("wrong in batches", _counts(then), _counts(batches, then), _verdict(apart)),
    ]


def _exact(what: str, recorded: Any, measured: Any, digits: int | None = None) -> Finding:
    then, now = (_text(value)[:digits] for value in (recorded, measured))
    return Finding(what, then, now, "same" if recorded == measured else "differs")


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}" if isinstance(value, float) else str(value)


def _share(what: str, recorded: float | None, measured: float, images: int) -> Finding:
    """Compares shares of the test images; None for a record that gives more than one."""
    if recorded is None:
        return Finding(what, "its record contradicts itself", _wrong(measured, images), "differs")
    count = recorded * images
    is_whole = abs(count - round(count)) < 1e-6
    apart = abs(round(count) - round(measured * images)) if is_whole else images
    return Finding(what, _wrong(recorded, images), _wrong(measured, images), _verdict(apart))


def _wrong(share: float, images: int) -> str:
    return f"{share * images:,.6g} of {images:,} ({share:.2%})"


def _verdict(apart: int) -> Verdict:
    return "same" if apart == 0 else "within rounding" if apart <= ROUNDING else "differs"


def _counts(counts: list[int], then: list[int] | None = None) -> str:
    if len(counts) <= SHOWN:
        return ", ".join(map(str, counts))
    if then is None:
        return f"{sum(counts):,} in {len(counts)} batches"
    equal = sum(a == b for a, b in zip(then, counts, strict=False))
    return f"the same in {equal} of {len(counts)}"
