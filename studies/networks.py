"""The finished runs that a study measures: those whose networks are here and were not measured before."""

import json
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.trainings import CPU, REGISTRY, experiment_of
from eps_resnet.experiments.experiment import Experiment
from eps_resnet.files.atomic import read_json, write_text
from eps_resnet.method.inputs.batches import Batches
from eps_resnet.method.inputs.open import open_batches
from eps_resnet.provenance import records
from eps_resnet.provenance.records import Metrics

DATASET = "cifar10-cpu"
RESULTS = Path(__file__).parent / "results"


def measure_all(path: Path, measure: Callable[[Experiment, Batches], dict[str, float]], only_gated: bool) -> None:
    """Measures each such run, prints what came out, and adds it to the results at `path`."""
    torch.set_num_threads(1)
    found = read_json(path) or {}
    for key, run in REGISTRY.runs.items():
        experiment = experiment_of(run)
        metrics = records.read(Metrics, experiment.files.metrics)
        is_studied = run.dataset == DATASET and (run.epsilon is not None or not only_gated)
        if not (is_studied and metrics and experiment.files.pruned.exists()):
            continue
        if found.get(key, {}).get("pruned_sha256") == metrics.pruned_sha256:
            continue
        measured = measure(experiment, open_batches(experiment, CPU))
        print(f"{key}: {', '.join(f'{name} {value:g}' for name, value in measured.items())}", flush=True)
        found[key] = {"pruned_sha256": metrics.pruned_sha256, **measured}
        write_text(path, json.dumps(found, indent=2, sort_keys=True) + "\n")
