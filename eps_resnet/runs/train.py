"""Trains one run to its end, resuming by itself, and writes its network, history and manifest."""

import time

import torch

from eps_resnet.experiments.experiment import Experiment
from eps_resnet.files import interruption, tensors
from eps_resnet.files.digests import digest, sha256
from eps_resnet.files.errors import UserError
from eps_resnet.files.interruption import Interrupted
from eps_resnet.files.machine import machine
from eps_resnet.method.divergence import DivergenceError
from eps_resnet.method.history import write_blocks, write_history
from eps_resnet.method.inputs.batches import Batches
from eps_resnet.method.inputs.open import open_batches
from eps_resnet.method.loop import new_training, train_epoch
from eps_resnet.method.parallel import joined, share_of
from eps_resnet.method.state import Snapshot, Training
from eps_resnet.provenance import records
from eps_resnet.provenance.code import git_commit
from eps_resnet.provenance.fingerprints import training_fingerprint, training_parts
from eps_resnet.provenance.records import EpochFacts, Manifest, NetworkFacts
from eps_resnet.runs import checkpoint
from eps_resnet.runs.checkpoint import Keeper
from eps_resnet.runs.networks import LATEST, MEAN_IMAGE
from eps_resnet.runs.progress import reporting


def train(experiment: Experiment, device: torch.device, threads: int, workers: int | None = None) -> None:
    """Trains a run to its end and writes its results, all of them or none. Resumes from work/ if it can.

    Started by torchrun, the processes share each mini-batch; process 0 evaluates and writes. Raises UserError if the
    data set is missing, the processes cannot share the recipe's slices, one of them is lost, a checkpoint is of another
    training, or loss or weights are no longer finite; Interrupted, after saving, if a signal asks to stop.
    """
    share = share_of(experiment.recipe)
    batches = open_batches(experiment, device, share, workers)
    with joined(share, device):
        training = new_training(experiment, device, share)
        keeper = Keeper(experiment.layout.work(training_fingerprint(experiment)), training, device)
        keeper.resume(machine(device, threads, share.of))
        try:
            _train_epochs(training, batches, keeper)
        except DivergenceError as error:
            raise UserError(f"{error} {keeper.last_good()} The rate may be too high for this network.") from None
    if share.index == 0:
        _write_results(training, batches)
        checkpoint.remove(keeper.folder)


def _train_epochs(training: Training, batches: Batches, keeper: Keeper) -> None:
    with reporting(training) as report, interruption.deferred():
        try:
            while training.epoch < training.experiment.epochs:
                report(train_epoch(training, batches, keeper.after_step))
            keeper.save()
        except Interrupted as stop:
            stop.saved = keeper.save()
            raise


def _write_results(training: Training, batches: Batches) -> None:
    experiment, files, settled = training.experiment, training.experiment.files, training.settled
    made_from = training_parts(experiment)
    is_latest = training.latest.epoch == settled.epoch
    facts = NetworkFacts(
        **_facts_of(settled).model_dump(),
        fingerprint=digest(made_from),
        settled=training.is_settled,
        latest=None if is_latest else _facts_of(training.latest),
    )
    latest = {f"{LATEST}{name}": tensor for name, tensor in training.latest_weights().items()}
    tensors.write(files.model, {**settled.weights, **latest, MEAN_IMAGE: batches.mean}, facts.model_dump())
    write_history(files.history, training.history)
    closed, responses = torch.stack(training.closed).numpy(), torch.stack(training.least_responses).numpy()
    write_blocks(files.blocks, closed, responses, training.window, torch.stack(training.percentiles).numpy())
    *earlier, last = training.machines
    manifest = Manifest(
        key=experiment.key,
        fingerprint=facts.fingerprint,
        model_sha256=sha256(files.model),
        history_sha256=sha256(files.history),
        blocks_sha256=sha256(files.blocks),
        made_from=made_from,
        git_commit=git_commit(),
        machine=last,
        earlier_machines=earlier,
        seconds={"training": round(training.seconds, 3)},
        finished=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    )
    records.write(files.manifest, manifest)  # last: a run without it is not finished


def _facts_of(snapshot: Snapshot) -> EpochFacts:
    return EpochFacts.model_validate(snapshot, from_attributes=True)
