import os
import re
import shlex
import sys
import time
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import validate

from eps_resnet.operations import pods
from eps_resnet.evidence.figures import current
from eps_resnet.provenance import fingerprints
from eps_resnet.provenance import state
from eps_resnet.operations import reservation
from eps_resnet.operations import simulation
from eps_resnet.operations import working_folder
from eps_resnet.data.manifest import data_digest
from eps_resnet.files.errors import UserError
from eps_resnet.files.atomic import read_json
from eps_resnet.files.digests import Digests
from eps_resnet.experiments.layout import Layout
from eps_resnet.operations.plan import in_order_of_worth
from eps_resnet.experiments.registry import load
from eps_resnet.experiments.yaml_file import read

# The commands of this environment, whether or not it is activated. Snakemake fills in what stands in single braces.
COMMANDS = shlex.quote(str(Path(sys.executable).parent)).replace("{", "{{").replace("}", "}}")
shell.prefix(f"export PATH={COMMANDS}:$PATH; ")


def given(name, default=None):
    """The path or address that --config NAME= gives. Stops where Snakemake would take it for something else."""
    value = config.get(name, default)
    written = [word for word in sys.argv if word.startswith(f"{name}=")]  # Snakemake reads it as YAML
    is_text = isinstance(value, str) and value.isprintable() and not set(value) & set("{}")
    if not is_text or set(written) - {f"{name}={value}"}:
        raise WorkflowError(
            f"--config {name}= takes a path or an address without braces and control characters that YAML reads as "
            f"plain text; found {ascii(' '.join(written) or value)[:200]}. Rename the folder, or write a number as "
            f"./NUMBER."
        )
    return value


def refuse_what_a_clusters_shell_misreads(workflow):
    """Stops before jobs are submitted whose command lines would not be what is meant.

    Snakemake quotes configuration and paths for them as Python quotes, which is not how shells read.
    """
    if workflow.local_exec:
        return
    for words in (str(Path.cwd()), sys.executable, *(workflow.config_settings.config_args or ())):
        if not re.fullmatch(r"[\w@%+=:,./~ -]*", words) or (words == sys.executable and " " in words):
            raise WorkflowError(
                "Jobs of a cluster need paths without quotes and other characters that mean something to a shell; "
                f"found {ascii(words)[:200]}. Rename or move that folder."
            )


def refuse_arrays(workflow):
    """Stops before jobs are submitted as an array of Slurm, whose jobs the plugin does not keep apart."""
    if getattr(workflow.executor_settings, "array_jobs", None):
        raise WorkflowError(
            "--slurm-array-jobs would judge every training of an array by the results of the first one, and give it "
            "that one's time and memory (docs/cluster.md says how this was seen). Leave it out: each training is then "
            "a job of its own."
        )


REGISTRY = given("registry", "config/experiments.yaml")
ROOT = given("root", ".")


def count_given(name, what, default=1):
    """The number that --config NAME=N gives."""
    value = config.get(name, default)
    if not isinstance(value, int) or value < 1:
        raise WorkflowError(f"--config {name}=N takes the number of {what}, 1 or more; found {value!a}.")
    return value


GPUS = count_given("gpus", "cards for one training")
SHARING = count_given("sharing", "trainings on one card")
MAX_HOURS = count_given("max_hours", "hours that a cluster gives a job at most", 10**6)
if GPUS > 1 and SHARING > 1:  # a training of several cards would wait for cards that others hold in part
    raise WorkflowError("--config takes gpus=N or sharing=N, not both: start two calls, one after the other.")
OPTIONS = f"--root={shlex.quote(ROOT)} --registry={shlex.quote(REGISTRY)}"

try:
    experiments = load(Path(REGISTRY))
except UserError as error:
    raise WorkflowError(str(error)) from None
validate(
    read(Path(REGISTRY)),
    workflow.source_path("../schemas/experiments.schema.json"),
)
SOURCES = {name: given(name) for name in experiments.datasets if name in config}
layout = Layout(Path(ROOT))
if experiments.simulated:
    try:
        simulation.require_own_folder(Path(REGISTRY), layout)
    except UserError as error:
        raise WorkflowError(str(error)) from None
PAPER = [name for name, data in experiments.datasets.items() if data.is_papers]
DEMO = [name for name, data in experiments.datasets.items() if data.demo]


wildcard_constraints:
    run="|".join(experiments.runs),
    dataset="|".join(experiments.datasets),
    figure="|".join(experiments.figures),


def recipe(run):
    """The recipe a run is trained by."""
    return experiments.datasets[experiments.runs[run].dataset].recipe


def decoders(run, processes=1):
    """How many cores decode a run's images while it trains: eight for each process where that is JPEG files, else 0."""
    is_jpeg = experiments.datasets[experiments.runs[run].dataset].format == "imagenet"
    return 8 * processes if is_jpeg and not experiments.simulated else 0


def cards(run):
    """How many GPUs a run takes: as many of those given by --config gpus=N as can share its slices evenly."""
    if recipe(run).device == "cpu":
        return 0
    return max(n for n in range(1, GPUS + 1) if recipe(run).slices % n == 0)


def memory(stage):
    """What a rule's `mem_mb` is: the megabytes that a run's job asks for, by the registry's estimates."""

    def megabytes(w, attempt):
        processes = max(cards(w.run), 1) if stage == "train" else 1
        return reservation.megabytes(experiments, w.run, stage, attempt, processes, decoders(w.run, processes))

    return megabytes


def run_time(stage):
    """What a rule's `runtime` is: the minutes that a run's job asks for, by the registry's estimates."""
    return lambda w, attempt: min(reservation.minutes(experiments, w.run, stage, attempt), MAX_HOURS * 60)


def launch(processes):
    """The command that starts one training: one process for each card."""
    if processes <= 1:
        return "eps-resnet"
    return f"python -m eps_resnet.torchrun --standalone --nproc-per-node {processes} -m eps_resnet"


# Cheap and first seeds first, so that a partial sweep can be compared; whatever finishes a run before any training.
WORTH = {key: rank for rank, key in enumerate(reversed(in_order_of_worth(experiments)), start=1)}
FIRST = len(WORTH) + 1


def targets(datasets):
    """The metrics of all runs on these data sets, and the figures made from them."""
    runs = [str(layout.metrics(key)) for key, run in experiments.runs.items() if run.dataset in datasets]
    figures = [
        str(file)
        for name, figure in experiments.figures.items()
        if figure.dataset in datasets
        for file in layout.figure_files(name)
    ]
    return list(dict.fromkeys(runs + figures))


def required(stage, name, outputs, files):
    """A stage's inputs: its fingerprint file, whose time says whether its result is current, and what it reads.

    Where all outputs are there and current it reads nothing: so nothing is made for it in a fresh clone, which has no
    images and no checkpoints, and times of files, which mean nothing after a clone or a pull, are not looked at. Not
    ancient(): Snakemake would then not see that a stage must follow the one before it.
    """
    is_complete = IS_CURRENT[stage, name] and all(path.exists() for path in outputs)
    return {
        "fingerprint": layout.fingerprint(stage, name),
        "files": [] if is_complete else files,
    }


def data_of(run):
    """The stored images of a run's data set, and their manifest."""
    dataset = experiments.runs[run].dataset
    return [layout.store(dataset), layout.data_manifest(dataset)]


def train_inputs(w):
    return required("train", w.run, [layout.model(w.run)], data_of(w.run))


def prune_inputs(w):
    return required("evaluate", w.run, [layout.pruned(w.run)], [layout.model(w.run)])


def evaluate_inputs(w):
    networks = [layout.model(w.run), layout.pruned(w.run), layout.history(w.run)]
    return required("evaluate", w.run, [layout.metrics(w.run)], networks + data_of(w.run))


def table_inputs(w):
    number, keys = experiments.figures[w.figure].figure, experiments.runs_of(w.figure)
    files = [path for key in keys for path in current.result_files(layout, number, key)]
    return required("figures", w.figure, layout.figure_files(w.figure), files)


def draw_inputs(w):
    files = layout.figure_files(w.figure)
    return required("figures", w.figure, files, files[:1])


def described(stage):
    """How Snakemake's report files and captions what a rule of a figure makes."""
    return {
        "caption": f"../report/{stage}.rst",
        "subcategory": lambda w: about(w)["dataset"],
        "labels": {"figure": "{figure}"},  # one: of several, the report may make switches that lead nowhere
    }


def about(w):
    """What captions say of a figure."""
    figure, runs = experiments.figures[w.figure], experiments.runs_of(w.figure)
    configurations = [run.model_copy(update={"seed": 0}) for run in runs.values()]
    return {
        "number": figure.figure,
        "dataset": experiments.datasets[figure.dataset].title,
        "remark": experiments.datasets[figure.dataset].remark,
        "runs": list(runs),
        "seeds": max(map(configurations.count, configurations)),
    }


def write_fingerprint_files():
    """Makes each file older than any result where the stage's result is current, newer where it is not.

    At parse time, since Snakemake lists folders once; in the main process alone, since jobs change what is current.
    """
    for (stage, name), is_current in IS_CURRENT.items():
        path = layout.fingerprint(stage, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        # Snakemake forgives a newer time where the content is the one it remembers, so that must be new as well.
        path.write_text("current" if is_current else str(time.time_ns()))
        if is_current:
            os.utime(path, (1, 1))


def refuse_without_gpu(workflow):
    """Stops before anything is fetched or trained for which this machine lacks the GPU.

    Only where jobs run on this machine: a cluster's head node needs none.
    """
    if not workflow.local_exec:
        return
    from eps_resnet.runs.device import cpu_is_allowed, has_gpu, refusal

    wanted = set()
    for job in workflow.dag.needrun_jobs():
        if job.rule.name == "train":
            wanted.add(job.wildcards.run)
        elif job.rule.name == "fetch":
            wanted |= {key for key, run in experiments.runs.items() if run.dataset == job.wildcards.dataset}
    wanted = sorted(key for key in wanted if recipe(key).device == "gpu")
    if wanted and not cpu_is_allowed() and not has_gpu():
        raise WorkflowError(refusal(experiments, wanted))


def has_its_images(name):
    """Whether a data set is fetched, and the stored images, if they are here, are not altered."""
    expected = data_digest(layout, name)
    return state.is_fetched(experiments, layout, name) and not fingerprints.is_altered(
        layout.store(name), expected, digests
    )


def has_its_network(key):
    """Whether a run is trained, and its network, if it is here, is not altered."""
    if not state.is_trained(experiments, layout, key):
        return False
    expected = read_json(layout.manifest(key))["model_sha256"]
    return not fingerprints.is_altered(layout.model(key), expected, digests)


# What only looks: such a call neither needs the folder for itself nor disturbs who has it.
LOOKING = {
    "--nolock",
    "--lint",
    "--report",
    "--dag",
    "--rulegraph",
    "--filegraph",
    "--summary",
    "--detailed-summary",
    "--list-changes",
}


def claim_folder():
    """Claims the working folder for a call that makes something; refuses to unlock it while its owner lives."""
    has_cores = workflow.resource_settings.cores or workflow.resource_settings.nodes
    try:
        if "--unlock" in sys.argv:
            working_folder.require_no_owner()
        elif has_cores and not workflow.output_settings.dryrun and not LOOKING & set(sys.argv):
            working_folder.claim()
    except UserError as error:
        raise WorkflowError(str(error)) from None


if workflow.is_main_process:
    pods.share_volumes(Path(ROOT))
    claim_folder()

# Whether each stage's result was made from the present configuration, data and code.
digests = Digests(layout.digests)
IS_CURRENT = {
    **{("fetch", name): has_its_images(name) for name in experiments.datasets},
    **{("train", key): has_its_network(key) for key in experiments.runs},
    **{("evaluate", key): state.is_evaluated(experiments, layout, key) for key in experiments.runs},
    **{("figures", name): current.is_drawn(experiments, layout, name) for name in experiments.figures},
}
if workflow.is_main_process:
    try:
        digests.save()
        write_fingerprint_files()
    except OSError as error:
        raise WorkflowError(
            f"{error.filename} cannot be written ({error.strerror}); choose a folder you may write to with --config root=FOLDER."
        )
