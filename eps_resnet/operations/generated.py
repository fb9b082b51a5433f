"""Files generated from the registry, kept in step with it by a test: the demo's, dvc.yaml and the JSON schema."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from eps_resnet.evidence.figures.current import TABLE_KEYS, published_files, result_files
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.registry import Registry, as_yaml, json_schema
from eps_resnet.provenance.code import layer_digest

HEADER = "# Generated from config/experiments.yaml by `eps-resnet generate`. Do not edit.\n"
REGISTRY, CODE = "config/experiments.yaml", "config/code.json"
LAYOUT = Layout()


def schema_text(registry: Registry) -> str:
    """The JSON schema of the registry; the same for every registry."""
    return json.dumps(json_schema(), indent=2) + "\n"


def dvc_text(registry: Registry) -> str:
    """dvc.yaml: one stage per data set, run and figure. DVC decides whether, Snakemake decides how."""
    stages: dict[str, Any] = {}
    for name in registry.datasets:
        stages[f"data-{name}"] = _data_stage(name)
    for key, run in registry.runs.items():
        stages[key] = _run_stage(registry, key, run.dataset)
    for name in registry.figures:
        stages[name] = _figure_stage(registry, name)
    return HEADER + yaml.safe_dump({"stages": stages}, sort_keys=False, width=120)


def _snakemake(*targets: Path) -> str:
    return "snakemake --cores all -- " + " ".join(map(str, targets))


def _data_stage(name: str) -> dict[str, Any]:
    return {
        "cmd": _snakemake(LAYOUT.store(name), LAYOUT.data_manifest(name)),
        "params": [{REGISTRY: [f"datasets.{name}.archives"]}],
        "outs": [
            {str(LAYOUT.store(name)): {"persist": True}},
            {str(LAYOUT.data_manifest(name)): {"cache": False, "persist": True}},
        ],
    }


def _run_stage(registry: Registry, key: str, dataset: str) -> dict[str, Any]:
    plain = {"cache": False, "persist": True}
    return {
        # Twice: the second call sees whether the first one's network is the one that the metrics are of.
        "cmd": [_snakemake(LAYOUT.model(key)), _snakemake(LAYOUT.pruned(key), LAYOUT.metrics(key))],
        "deps": [str(LAYOUT.store(dataset))],
        "params": [{REGISTRY: [f"runs.{key}", f"datasets.{dataset}.recipe"]}, {CODE: ["training", "evaluation"]}],
        "outs": [
            {str(LAYOUT.model(key)): {"persist": True}},
            {str(LAYOUT.pruned(key)): {"persist": True}},
            {str(LAYOUT.history(key)): plain},
            {str(LAYOUT.blocks(key)): plain},
        ],
        "metrics": [{str(LAYOUT.metrics(key)): plain}],
    }


def _figure_stage(registry: Registry, name: str) -> dict[str, Any]:
    figure, files = registry.figures[name], LAYOUT.figure_files(name)
    data = registry.datasets[figure.dataset]
    results = [path for key in registry.runs_of(name) for path in result_files(LAYOUT, figure.figure, key)]
    keys = [key for key in TABLE_KEYS if getattr(data, key)] + ["recipe"]
    return {
        "cmd": _snakemake(*files),
        "deps": [
            *map(str, [*results, LAYOUT.data_manifest(figure.dataset), *published_files(figure.figure)]),
        ],
        "params": [
            {REGISTRY: [f"figures.{name}", *(f"datasets.{figure.dataset}.{key}" for key in keys)]},
            {CODE: [f"figure{figure.figure}"]},
        ],
        "outs": [{str(file): {"cache": False, "persist": True}} for file in files],
    }


def demo_text(registry: Registry) -> str:
    """config/demo.yaml: the demo's data sets with the first seed of each run, for `make demo`."""
    names = {name for name, data in registry.datasets.items() if data.demo}
    runs = {key: run for key, run in registry.runs.items() if run.dataset in names and run.seed == 0}
    parts = {
        "datasets": {name: data for name, data in registry.datasets.items() if name in names},
        "runs": runs,
        "figures": {name: figure for name, figure in registry.figures.items() if figure.dataset in names},
    }
    return HEADER + as_yaml(registry.model_copy(update=parts))


def code_text(registry: Registry) -> str:
    """config/code.json: the digest of each layer of the code, through which DVC sees a change of it."""
    figures = sorted({figure.figure for figure in registry.figures.values()}, key=int)
    document = {
        "training": layer_digest("training"),
        "evaluation": layer_digest("evaluation"),
        **{f"figure{number}": layer_digest("tables", number) for number in figures},
    }
    return json.dumps(document, indent=2) + "\n"


FILES: dict[Path, Callable[[Registry], str]] = {
    Path("config/code.json"): code_text,
    Path("config/demo.yaml"): demo_text,
    Path("dvc.yaml"): dvc_text,
    Path("workflow/schemas/experiments.schema.json"): schema_text,
}
