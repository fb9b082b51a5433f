"""Files generated from the registry and the code, kept in step by a test: the demo's registry, dvc.yaml, digests."""

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
# DVC decides by content whether, Snakemake decides how. Each run twice: the second call sees whether the first one's
# network is the one that the metrics are of.
STAGES = """\
vars:
- config/experiments.yaml
stages:
  data:
    foreach: ${datasets}
    do:
      cmd: snakemake --cores all -- data/${key}.safetensors data/${key}.json
      params:
      - config/experiments.yaml:
        - datasets.${key}.archives
      outs:
      - data/${key}.safetensors:
          persist: true
      - data/${key}.json:
          cache: false
          persist: true
  run:
    foreach: ${runs}
    do:
      cmd:
      - snakemake --cores all -- results/${key}/model.safetensors
      - snakemake --cores all -- results/${key}/pruned.safetensors results/${key}/metrics.json
      deps:
      - data/${item.dataset}.safetensors
      params:
      - config/experiments.yaml:
        - runs.${key}
        - datasets.${item.dataset}.recipe
      - config/code.json: [training, evaluation]
      outs:
      - results/${key}/model.safetensors:
          persist: true
      - results/${key}/pruned.safetensors:
          persist: true
      - results/${key}/history.csv:
          cache: false
          persist: true
      - results/${key}/blocks.parquet:
          cache: false
          persist: true
      - results/${key}/metrics.json:
          cache: false
          persist: true
"""


def schema_text(registry: Registry) -> str:
    """The JSON schema of the registry, for editors; the same for every registry."""
    return json.dumps(json_schema(), indent=2) + "\n"


def dvc_text(registry: Registry) -> str:
    """dvc.yaml: a stage for each data set, run and figure, and what `dvc plots show` draws."""
    stages = {name: _figure_stage(registry, name) for name in registry.figures}
    figures = yaml.safe_dump(stages, sort_keys=False, width=120, default_flow_style=None)
    indented = "".join(f"  {line}\n" for line in figures.splitlines())
    plots = yaml.safe_dump({"plots": _plots(registry)}, sort_keys=False, width=120, default_flow_style=None)
    return HEADER + STAGES + indented + plots


def _figure_stage(registry: Registry, name: str) -> dict[str, Any]:
    figure = registry.figures[name]
    data = registry.datasets[figure.dataset]
    results = [path for key in registry.runs_of(name) for path in result_files(LAYOUT, figure.figure, key)]
    keys = [key for key in TABLE_KEYS if getattr(data, key)] + ["recipe.weight_decay"]
    # Another change of the recipe changes the runs' results, on which the table depends already.
    watched = [f"figures.{name}", *(f"datasets.{figure.dataset}.{key}" for key in keys)]
    plain = {"cache": False, "persist": True}
    summary = LAYOUT.summary(name)
    return {
        "cmd": f"snakemake --cores all -- {name}",
        "deps": [
            str(path) for path in (*results, LAYOUT.data_manifest(figure.dataset), *published_files(figure.figure))
        ],
        "params": [{REGISTRY: watched}, {CODE: [f"figure{figure.figure}"]}],
        "outs": [{str(file): plain} for file in LAYOUT.figure_files(name) if file != summary],
        "metrics": [{str(summary): plain}],
    }


def _plots(registry: Registry) -> list[dict[str, Any]]:
    """Test error and discarded blocks against the epoch, of the demo's gated networks with the first seed."""
    runs = [key for key, run in registry.runs.items() if registry.datasets[run.dataset].demo and run.seed == 0]
    gated = [str(LAYOUT.run(key).history) for key in runs if registry.runs[key].method == "epsilon_side"]
    return [
        {column: {"x": "epoch", "y": dict.fromkeys(gated, column), "title": title}}
        for column, title in (("test_error", "test error, gates on"), ("discarded", "blocks discarded"))
    ]


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
    Path(CODE): code_text,
    Path("config/demo.yaml"): demo_text,
    Path("dvc.yaml"): dvc_text,
    Path("workflow/schemas/experiments.schema.json"): schema_text,
}
