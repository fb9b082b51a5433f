import os
import sys
from functools import cache
from pathlib import Path

import yaml
from snakemake.exceptions import WorkflowError
from snakemake.utils import validate

from eps_resnet import provenance
from eps_resnet.errors import UserError
from eps_resnet.layout import Layout
from eps_resnet.registry import load

# The commands of this environment, whether or not it is activated.
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

REGISTRY = config.get("registry", "config/experiments.yaml")
ROOT = config.get("root", ".")
OPTIONS = f"--root {ROOT} --registry {REGISTRY}"

try:
    experiments = load(Path(REGISTRY))
except UserError as error:
    raise WorkflowError(str(error)) from None
validate(
    yaml.safe_load(Path(REGISTRY).read_text()),
    workflow.source_path("../schemas/experiments.schema.json"),
)
layout = Layout(Path(ROOT))
PAPER = [name for name, data in experiments.datasets.items() if data.published_name]
DEMO = [name for name in experiments.datasets if name not in PAPER]
FIGURE_FILES = ["table.csv", "table.md", "figure.svg", "figure.png"]


wildcard_constraints:
    run="|".join(experiments.runs),
    dataset="|".join(experiments.datasets),
    figure="|".join(experiments.figures),


def recipe(run):
    """The recipe a run is trained by."""
    return experiments.datasets[experiments.runs[run].dataset].recipe


def figure_targets(name):
    """A figure's files, or its runs' metrics if this release cannot draw it."""
    if not provenance.is_drawable(experiments, name):
        return [str(layout.metrics(key)) for key in experiments.runs_of(name)]
    return [str(layout.tables(name) / file) for file in FIGURE_FILES]


def targets(datasets):
    """The metrics of all runs on these data sets, and the figures made from them."""
    runs = [str(layout.metrics(key)) for key, run in experiments.runs.items() if run.dataset in datasets]
    figures = [
        file
        for name, figure in experiments.figures.items()
        if figure.dataset in datasets
        for file in figure_targets(name)
    ]
    return list(dict.fromkeys(runs + figures))


@cache
def fingerprint(stage, name, is_current):
    """A tiny file that is older than any result if that is current, else newer. It alone makes a rule run again.

    Times of other files mean nothing after a clone or a pull, so all other inputs are ancient().
    """
    path = layout.fingerprint(stage, name)
    is_old = path.exists() and path.stat().st_mtime == 1
    if workflow.is_main_process and (not path.exists() or is_old != is_current):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        if is_current:
            os.utime(path, (1, 1))
    return str(path)


def required(paths, is_current):
    """Files a rule reads. Where its result is current only those that exist, so that none is made for nothing."""
    return [ancient(str(path)) for path in paths if not is_current or path.exists()]


def refuse_without_gpu(workflow):
    """Stops before anything is fetched or trained for which this machine lacks the GPU.

    Only where jobs run on this machine: a cluster's head node needs none.
    """
    if not workflow.local_exec:
        return
    from eps_resnet.device import cpu_is_allowed, has_gpu, refusal

    wanted = set()
    for job in workflow.dag.needrun_jobs():
        if job.rule.name == "train":
            wanted.add(job.wildcards.run)
        elif job.rule.name == "fetch":
            wanted |= {key for key, run in experiments.runs.items() if run.dataset == job.wildcards.dataset}
    wanted = sorted(key for key in wanted if recipe(key).device == "gpu")
    if wanted and not cpu_is_allowed() and not has_gpu():
        raise WorkflowError(refusal(experiments, wanted))
