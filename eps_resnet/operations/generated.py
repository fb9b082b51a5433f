"""Files generated from registry and code, kept in step by a test: registry of the demo, dvc.yaml, digests ..."""

import json
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from eps_resnet.evidence.figures.current import TABLE_KEYS, published_files, result_files
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.models import FIGURES, Run, stem_of
from eps_resnet.experiments.registry import Registry, as_yaml, json_schema
from eps_resnet.experiments.targets import kept_in_git
from eps_resnet.provenance.code import layer_digest

HEADER = "# Generated from config/experiments.yaml by `eps-resnet generate`. Do not edit.\n"

LAYOUT = Layout()
# DVC decides by content whether, Snakemake decides how. `foreach` would be shorter, but names stages `run@NAME`.
DATA = """\
    cmd: snakemake --cores all -- data/${data}.safetensors data/${data}.json
    params:
    - config/experiments.yaml:
      - datasets.${data}.archives
    outs:
    - data/${data}.safetensors: {persist: true}
    - data/${data}.json: {cache: false, persist: true}
"""
# Two commands: the second one's Snakemake sees whether the first one's network is the one that the metrics are of.
RUN = """\
    cmd:
    - snakemake --cores all -- results/${run}/model.safetensors
    - snakemake --cores all -- results/${run}/pruned.safetensors results/${run}/metrics.json
    deps:
    - data/${data}.safetensors
"""
WATCHED = """\
    params:
    - config/experiments.yaml:
      - runs.${run}
      - datasets.${data}.recipe
"""
CODE = "    - config/code.json: [training, evaluation]\n"
OUTS = """\
    outs:
    - results/${run}/model.safetensors: {persist: true}
    - results/${run}/pruned.safetensors: {persist: true}
    - results/${run}/history.csv: {cache: false, persist: true}
    - results/${run}/blocks.parquet: {cache: false, persist: true}
    - results/${run}/metrics.json: {cache: false, persist: true}
"""
IN_GIT = OUTS.replace("pruned.safetensors: {", "pruned.safetensors: {cache: false, ")
FIGURE = """\
    cmd: snakemake --cores all -- ${figure}
    outs:
    - paper_tables/${figure}/table.csv: {cache: false, persist: true}
    - paper_tables/${figure}/table.md: {cache: false, persist: true}
    - paper_tables/${figure}/figure.svg: {cache: false, persist: true}
    - paper_tables/${figure}/figure.png: {cache: false, persist: true}
    - paper_tables/${figure}/figure.pdf: {cache: false, persist: true}
    metrics:
    - paper_tables/${figure}/summary.json: {cache: false, persist: true}
"""


def schema_text(registry: Registry) -> str:
    """The JSON schema of the registry, for editors; the same for every registry."""
    return json.dumps(json_schema(), indent=2) + "\n"


def dvc_text(registry: Registry) -> str:
    """dvc.yaml: a stage for each data set, run and figure, and what `dvc plots show` draws."""
    data = {f"data-{name}": f"data: {name}" for name in registry.datasets}
    plots = yaml.safe_dump({"plots": _plots(registry)}, sort_keys=False, width=120, default_flow_style=None)
    return f"{HEADER}stages:\n{_alike('data', DATA, data)}{_runs(registry)}{_figures(registry)}{plots}"


def _alike(kind: str, template: str, variables: dict[str, str]) -> str:
    """Stages that differ in their variables only: the first is written out, and the others refer to it."""
    text = ""
    for name, values in variables.items():
        if text:
            text += f"  {name}: {{<<: *{kind}, vars: [{{{values}}}]}}\n"
        else:
            text = f"  {name}: &{kind}\n    vars: [{{{values}}}]\n{template}"
    return text


def _runs(registry: Registry) -> str:
    """The runs' stages: the first of each kind is written out, and the others refer to it.

    Of a kind are those that watch the same variant, or depth with a recipe of its own, and whose pruned networks are
    both kept by git or both by DVC.
    """
    text, in_git = "", set(kept_in_git(registry))
    kinds: dict[tuple[str, bool], str] = {}
    for key, run in registry.runs.items():
        values = f"vars: [{{run: {key}, data: {run.dataset}}}]"
        own = _own_recipe(registry, run)
        kind = own[0] if own else "", key in in_git
        if kind in kinds:
            text += f"  {key}: {{<<: *{kinds[kind]}, {values}}}\n"
            continue
        is_first = not kinds
        kinds[kind] = "run" if is_first else key
        first = next(iter(kinds))
        text += f"  {key}: &{kinds[kind]}\n    {values}\n" + (RUN if is_first else "    <<: *run\n")
        if is_first or kind[0] != first[0]:
            text += WATCHED + "".join(f"      - {place}\n" for place in own) + CODE
        if is_first or kind[1] != first[1]:
            text += IN_GIT if kind[1] else OUTS
    return text


def _own_recipe(registry: Registry, run: Run) -> list[str]:
    """Where the registry has what a run's recipe differs in from its data set's, besides its decay."""
    data = registry.datasets[run.dataset]
    own = [f"datasets.{run.dataset}.variants.{run.variant}.recipe"] if run.variant else []
    return own + ([f"datasets.{run.dataset}.depths.{run.depth}"] if run.depth in data.depths else [])


def _figures(registry: Registry) -> str:
    """The figures' stages: the first is written out, and figures of the same files share one list of them."""
    text, lists = "", dict[str, str]()
    for name, figure in registry.figures.items():
        results = [path for key in registry.runs_of(name) for path in result_files(LAYOUT, figure.figure, key)]
        files = map(str, [*results, LAYOUT.data_manifest(figure.dataset), *published_files(figure.figure)])
        listed = textwrap.fill(f"[{', '.join(files)}]", 114, subsequent_indent=" " * 6, break_on_hyphens=False)
        deps = f" *{lists[listed]}" if listed in lists else f" &{name}\n      {listed}"
        lists.setdefault(listed, name)
        # Another selection has other results among its deps, and another recipe changes the results themselves.
        data = registry.datasets[figure.dataset]
        keys = [key for key in TABLE_KEYS if getattr(data, key)] + ["recipe.weight_decay"]
        watched = ", ".join(f"datasets.{figure.dataset}.{key}" for key in keys)
        text += f"  {name}:\n    <<: *figure\n" if text else f"  {name}: &figure\n{FIGURE}"
        text += (
            f"    vars: [{{figure: {name}}}]\n"
            f"    deps:{deps}\n"
            f"    params:\n"
            f"    - config/experiments.yaml: [{watched}]\n"
            f"    - config/code.json: [{stem_of(figure.figure)}]\n"
        )
    return text


def _plots(registry: Registry) -> list[dict[str, Any]]:
    """Test error and discarded blocks against the epoch, of the demo's gated networks with the first seed."""
    runs = [key for key, run in registry.runs.items() if registry.datasets[run.dataset].demo and run.seed == 0]
    gated = [str(LAYOUT.run(key).history) for key in runs if registry.runs[key].method == "epsilon_side"]
    return [
        {column: {"x": "epoch", "y": dict.fromkeys(gated, column), "title": title}}
        for column, title in (("test_error", "test error, gates on"), ("discarded", "blocks discarded"))
    ]


def ignore_text(registry: Registry) -> str:
    """results/.gitignore: the pruned networks that git keeps, of those that the project's .gitignore leaves out."""
    lines = [f"!/{key}/{LAYOUT.run(key).pruned.name}\n" for key in kept_in_git(registry)]
    return HEADER + "# Pruned networks that git keeps: `eps-resnet check` measures them again.\n" + "".join(lines)


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
    figures = sorted({figure.figure for figure in registry.figures.values()}, key=FIGURES.index)
    document = {
        "training": layer_digest("training"),
        "evaluation": layer_digest("evaluation"),
        **{stem_of(figure): layer_digest("tables", figure) for figure in figures},
    }
    return json.dumps(document, indent=2) + "\n"


def gate_svg(_: Registry) -> str:
    """docs/images/figure4c.svg: the gate's transfer function."""
    from eps_resnet.evidence.figures.figure4 import svg

    return svg()


FILES: dict[Path, Callable[[Registry], str]] = {
    Path("config/code.json"): code_text,
    Path("config/demo.yaml"): demo_text,
    Path("docs/images/figure4c.svg"): gate_svg,
    Path("dvc.yaml"): dvc_text,
    Path("results/.gitignore"): ignore_text,
    Path("workflow/schemas/experiments.schema.json"): schema_text,
}
