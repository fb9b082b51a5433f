"""Evaluates a trained and pruned run on its test images and writes its metrics."""

import torch

from eps_resnet.data import manifest as data_manifest
from eps_resnet.experiments.experiment import Experiment
from eps_resnet.files.digests import sha256
from eps_resnet.measure.evaluation import latest_of, measured
from eps_resnet.measure.metrics import metrics_of
from eps_resnet.measure.prune import prune
from eps_resnet.method.history import read_history
from eps_resnet.method.inputs.open import open_batches
from eps_resnet.provenance import records
from eps_resnet.provenance.fingerprints import evaluation_parts, trained_fingerprint
from eps_resnet.runs.networks import load_latest, load_pruned, load_trained

CPU = torch.device("cpu")


def evaluate(experiment: Experiment, device: torch.device = CPU, workers: int | None = None) -> None:
    """Evaluates a run and writes metrics.json. Raises UserError if a network or the images are missing or altered."""
    files = experiment.files
    network, facts = load_trained(experiment)
    pruned = load_pruned(experiment)
    batches = open_batches(experiment, device, workers=workers)
    origin = data_manifest.read(experiment.layout, experiment.run.dataset)
    found = measured(network.place(device), pruned.place(device), facts, experiment.recipe, batches)
    latest = latest_of(facts, found)
    if facts.latest is not None:
        network = load_latest(experiment).place(device)
        pruned = prune(network, facts.latest.discarded).place(device)
        latest = latest_of(facts.latest, measured(network, pruned, facts.latest, experiment.recipe, batches))
    metrics = metrics_of(
        experiment,
        facts.epoch,
        facts.settled,
        facts.discarded,
        found,
        latest,
        read_history(files.history),
        origin.differs if origin else None,
        evaluation_parts(trained_fingerprint(experiment)),
        {"model_sha256": sha256(files.model), "pruned_sha256": sha256(files.pruned)},
    )
    records.write(files.metrics, metrics)
