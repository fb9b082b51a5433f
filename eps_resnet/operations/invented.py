"""Invented results in place of a training's, milliseconds each, for a simulation. No torch in here."""

import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from eps_resnet.data import manifest as data_manifest
from eps_resnet.data.manifest import DataManifest
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.models import Run
from eps_resnet.experiments.registry import Registry, recipe_of
from eps_resnet.files.atomic import read_json, write_atomically
from eps_resnet.files.digests import SEAL, digest, sha256, write_sealed
from eps_resnet.measure.metrics import write_metrics
from eps_resnet.method.history import PERCENTILES, Array, Epoch, write_blocks, write_history
from eps_resnet.method.networks.architecture import architecture_of, blocks_of
from eps_resnet.method.schedule import epochs_of
from eps_resnet.operations.simulation import MARK, WORD
from eps_resnet.provenance.code import git_commit
from eps_resnet.provenance.fingerprints import training_parts


def fetch(registry: Registry, layout: Layout, name: str) -> None:
    """Writes a store without images."""
    archive = registry.dataset(name).archives[0]
    _write_tensors(layout.store(name), {MARK: True})
    manifest = DataManifest(
        dataset=name,
        copy=archive.name,
        copy_sha256=None,
        differs=archive.differs,
        train_images=archive.train_images,
        test_images=archive.test_images,
        sha256=sha256(layout.store(name)),
    )
    data_manifest.write(layout, manifest)


def train(registry: Registry, layout: Layout, key: str) -> None:
    """Writes what a training would: a network without weights, a history, block histories, a manifest."""
    run = registry.run(key)
    recipe, made_from = recipe_of(registry, run), training_parts(registry, layout, key)
    course = _course(run, sum(blocks_of(run.depth, recipe)), epochs_of(recipe, run))
    facts = {
        MARK: True,
        "fingerprint": digest(made_from),
        "epoch": course.epochs,
        "epsilon": run.epsilon or 0.0,
        "settled": True,
        "discarded": course.discarded(course.epochs),
        "flickered": 0,
    }
    _write_tensors(layout.model(key), facts)
    write_history(layout.history(key), course.history(recipe.rate))
    write_blocks(layout.blocks(key), course.closed(recipe.discard_window), recipe.discard_window, course.percentiles())
    write_sealed(
        layout.manifest(key),
        {
            MARK: True,
            "key": key,
            "fingerprint": digest(made_from),
            "model_sha256": sha256(layout.model(key)),
            "history_sha256": sha256(layout.history(key)),
            "blocks_sha256": sha256(layout.blocks(key)),
            "made_from": made_from,
            "git_commit": git_commit(),
            "machine": {"device": f"none, {WORD.lower()}", "processes": 1, "threads": 1},
            "seconds": {"training": 0.0},
            "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        },
    )


def prune(registry: Registry, layout: Layout, key: str) -> None:
    """Writes a pruned network without weights."""
    run = registry.run(key)
    whole = architecture_of(run, registry.datasets[run.dataset], recipe_of(registry, run))
    kept = whole.without(_facts(layout, key)["discarded"]).kept
    _write_tensors(layout.pruned(key), {MARK: True, "model_sha256": sha256(layout.model(key)), "kept": kept})


def evaluate(registry: Registry, layout: Layout, key: str) -> None:
    """Writes metrics.json with an invented error, and sizes that follow from the invented gates."""
    run, facts = registry.run(key), _facts(layout, key)
    images = registry.datasets[run.dataset].archives[0].test_images
    error = round(_final_error(run) * images) / images
    errors = {"gated": error, "pruned": error, "gated_top5": error / 4, "pruned_top5": error / 4}
    agreement = {
        "images": images,
        "equal": images,
        "batches": math.ceil(images / 128),
        "batches_with_other_gates": 0,
        "kept_gates_that_closed": 0,
        "discarded_gates_that_opened": 0,
        "flickered_in_training": 0,
    }
    write_metrics(registry, layout, key, facts, errors, images, agreement)
    document = read_json(layout.metrics(key))
    del document[SEAL]
    write_sealed(layout.metrics(key), {MARK: True, **document})


@dataclass(frozen=True)
class Course:
    """How an invented training goes: the epoch after which each block closes for good, infinite if never."""

    closes: Array
    epochs: int
    final_error: float
    draw: np.random.Generator

    def discarded(self, epoch: int) -> list[bool]:
        """Per block: is it closed by the end of that epoch?"""
        return [bool(closed) for closed in self.closes < epoch]

    def history(self, rate: float) -> list[Epoch]:
        """One row per epoch; error and loss fall, with noise."""
        rows = []
        for epoch in range(1, self.epochs + 1):
            left = math.exp(-6 * epoch / self.epochs) * float(self.draw.uniform(0.8, 1.2))
            error, discarded = self.final_error + 0.8 * left, sum(self.discarded(epoch))
            falls = (2 * epoch > self.epochs) + (4 * epoch > 3 * self.epochs)
            epsilon, loss = 2.5 if np.isfinite(self.closes).any() else 0.0, 0.01 + 2 * left
            rows.append(Epoch(epoch, rate / 10**falls, epsilon, loss, left, error, discarded, 0, float(discarded)))
        return rows

    def closed(self, window: int) -> Array:
        """(epochs, blocks): batches of the window with the gate closed; some, at random, shortly before it closes."""
        epoch = np.arange(1, self.epochs + 1)[:, None]
        flickers = (epoch > self.closes - 5) & (epoch <= self.closes)
        some = self.draw.integers(0, window, flickers.shape)
        return np.where(epoch > self.closes, window, np.where(flickers, some, 0)).astype(np.int32)

    def percentiles(self) -> Array:
        """(epochs, blocks, 5): noisy weights that collapse after their block has closed."""
        epoch = np.arange(1, self.epochs + 1)[:, None]
        left = np.exp(-np.maximum(0, epoch - np.minimum(self.closes, self.epochs)) / (self.epochs / 40))
        spread = np.array([-0.3, -0.05, 0.0, 0.05, 0.3])
        assert len(spread) == len(PERCENTILES)
        noise = 1 + 0.05 * self.draw.standard_normal((*left.shape, len(spread)))
        return (spread * left[:, :, None] * noise).astype(np.float16)


def _course(run: Run, blocks: int, epochs: int) -> Course:
    """The invented course of a run, the same whenever it is asked for."""
    draw = _generator(run)
    closes = np.full(blocks, np.inf)
    if run.epsilon is not None:
        share = min(0.9, 0.25 + 0.09 * math.log2(run.depth / 20) + 0.05 * run.epsilon + draw.normal(0, 0.02))
        gone = draw.permutation(blocks)[: round(max(0.0, share) * blocks)]
        closes[gone] = np.ceil(epochs * np.minimum(0.7, 0.05 + draw.exponential(0.15, len(gone))))
    return Course(closes, epochs, _final_error(run), draw)


def _final_error(run: Run) -> float:
    """Of no meaning: near a tenth, with the spread of seeds."""
    return float(max(0.01, 0.1 + _generator(run).normal(0, 0.004)))


def _generator(run: Run) -> np.random.Generator:
    return np.random.default_rng(int(digest(run.model_dump(mode="json")), 16))


def _facts(layout: Layout, key: str) -> dict[str, Any]:
    content = layout.model(key).read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return json.loads(header["__metadata__"]["facts"])  # type: ignore[no-any-return]


def _write_tensors(path: Path, facts: dict[str, Any]) -> None:
    """A file as of a network or a data set, without any tensor in it."""
    content = save({}, {"facts": json.dumps(facts)})
    write_atomically(path, lambda temporary: temporary.write_bytes(content))
