"""A rehearsal at full size: the workflow with invented results, milliseconds each, that no one can take for real.

`eps-resnet simulate FOLDER` writes a registry that says of itself that it is simulated. With it, every command and rule
works as ever, but trains nothing. What keeps its numbers apart: docs/simulation.md. No torch in here.
"""

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
from eps_resnet.errors import UserError
from eps_resnet.files import SEAL, digest, read_json, sha256, write_atomically, write_sealed, write_text
from eps_resnet.history import PERCENTILES, Array, Epoch, write_blocks, write_history
from eps_resnet.layout import Layout
from eps_resnet.metrics import write_metrics
from eps_resnet.networks.architecture import architecture_of, blocks_of
from eps_resnet.provenance import git_commit, training_parts
from eps_resnet.registry import Archive, DataSet, Registry, Run, as_yaml, load, recipe_of
from eps_resnet.schedule import epochs_of

WORD = "SIMULATED"
REMARK = f"{WORD}: every number of ours is invented and nothing was trained; only the workflow is rehearsed."
MARK = "simulated"  # the key that every manifest and metrics file of a simulation has


def simulated(registry: Registry, seeds: int) -> Registry:
    """A registry of every configuration of the paper, so many seeds of each, that is marked as a simulation.

    Its data sets accept no real copy, their titles and remarks say what they are, and it needs no GPU.
    """
    datasets = {name: _simulated(data) for name, data in registry.datasets.items() if data.published_name}
    configurations = [run for run in registry.runs.values() if run.dataset in datasets and run.seed == 0]
    runs = [run.model_copy(update={"seed": seed}) for run in configurations for seed in range(seeds)]
    parts = {
        "simulated": True,
        "datasets": datasets,
        "runs": {run.key: run for run in runs},
        "figures": {name: figure for name, figure in registry.figures.items() if figure.dataset in datasets},
    }
    return registry.model_copy(update=parts)


def _simulated(data: DataSet) -> DataSet:
    real = data.archives[0]
    images = {"train_images": real.train_images, "test_images": real.test_images}
    archive = Archive.model_validate({"name": MARK, "differs": REMARK, **images})
    recipe = data.recipe.model_copy(update={"device": "cpu"})
    title = f"{data.title} ({WORD.lower()})"
    return data.model_copy(update={"title": title, "remark": REMARK, "archives": (archive,), "recipe": recipe})


def write_registry(registry: Registry, folder: Path, seeds: int) -> Path:
    """Writes the registry of a simulation into a folder of its own and returns its path.

    Raises UserError if the folder holds anything but a simulation.
    """
    path = folder / "experiments.yaml"
    if folder.exists() and any(folder.iterdir()) and not (path.exists() and load(path).simulated):
        raise UserError(f"{folder} holds something else than a simulation; name a folder that is new or empty.")
    header = f"# {REMARK}\n# Written by `eps-resnet simulate`.\n"
    write_text(path, header + as_yaml(simulated(registry, seeds)))
    return path


def require_own_folder(registry_file: Path, layout: Layout) -> None:
    """Raises UserError unless results are kept beside the simulation's registry, and there are no real ones."""
    manifests = sorted(layout.result("").glob("*/manifest.json"))
    if real := [path for path in manifests if not _is_marked(path)]:
        raise UserError(f"{real[0].parent} is no result of a simulation; a simulation needs a folder of its own.")
    if registry_file.resolve().parent != layout.root.resolve():
        raise UserError(
            f"{registry_file} is a simulation: its results are invented, and stay beside it. Use "
            f"`--root {registry_file.parent}` (`snakemake --config root={registry_file.parent} ...`)."
        )


def require_none(layout: Layout) -> None:
    """Raises UserError if invented results lie where real ones are asked for."""
    if found := simulated_results(layout):
        raise UserError(
            f"{found[0].parent} is simulated ({len(found)} files in all): its numbers are invented, and nothing is "
            "made of them here. Delete it; or, to look at the simulation, give its own registry with --registry."
        )


def simulated_results(layout: Layout) -> list[Path]:
    """The manifests and metrics below a root that say that they are simulated, those of figures among them."""
    files = [*layout.result("").glob("*/m*.json"), *layout.tables("").glob("*/manifest.json")]
    return [path for path in sorted(files) if _is_marked(path)]


def _is_marked(path: Path) -> bool:
    return isinstance(document := read_json(path), dict) and MARK in document


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
