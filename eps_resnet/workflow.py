"""What the Snakefile and its rules ask: what is current, what a step reads and needs, and what is refused.

Snakemake imports this each time it starts, and so does every job: no torch in here.
"""

import re
import shlex
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from eps_resnet.cluster import slurm_reservation
from eps_resnet.data.manifest import data_digest
from eps_resnet.evidence.figures.current import is_drawn, result_files
from eps_resnet.exchange.further_runs import configuration
from eps_resnet.experiments.experiment import Experiment
from eps_resnet.experiments.layout import Layout, expanded
from eps_resnet.experiments.registry import Registry, load
from eps_resnet.files.atomic import read_json
from eps_resnet.files.digests import Digests
from eps_resnet.files.errors import UserError
from eps_resnet.operations.plan import in_order_of_worth
from eps_resnet.provenance.state import is_evaluated, is_fetched, is_trained

Stage = Literal["fetch", "train", "evaluate", "figures"]
Task = tuple[Stage, str]  # a stage, of a data set, a run or a figure
Settings = Mapping[str, Any]  # what --config gives

DECODERS = 8  # cores that decode the JPEG files of one training process
FOREVER = 10**6  # hours
# What Snakemake is asked to do, its settings do not tell a Snakefile: these only look, so they neither need the folder
# for themselves nor disturb who has it.
LOOKING = {
    *("--nolock", "--lint", "--report", "--dag", "--rulegraph", "--filegraph"),
    *("--summary", "--detailed-summary", "--list-changes"),
}


def text_given(config: Settings, written: Iterable[str] | None, name: str, default: str | None = None) -> str | None:
    """The path or address that --config NAME= gives, as `written`. Raises UserError where YAML takes it for another."""
    value: Any = config.get(name, default)
    words = {word for word in written or () if word.startswith(f"{name}=")}
    is_text = value is None or (isinstance(value, str) and value.isprintable() and not set(value) & set("{}"))
    if not is_text or words - {f"{name}={value}"}:
        raise UserError(
            f"--config {name}= takes a path or an address without braces and control characters that YAML reads as "
            f"plain text; found {ascii(' '.join(words) or value)[:200]}. Rename the folder, or write a number as "
            "./NUMBER."
        )
    return None if value is None else str(value)


def count_given(config: Settings, name: str, what: str, default: int = 1) -> int:
    """The number that --config NAME=N gives. Raises UserError unless it is 1 or more."""
    value = config.get(name, default)
    if not isinstance(value, int) or value < 1:
        raise UserError(f"--config {name}=N takes the number of {what}, 1 or more; found {value!a}.")
    return value


def shell_prefix() -> str:
    """What finds the commands of this environment, whether or not it is activated.

    Snakemake fills in what stands in single braces, so those of the path are doubled.
    """
    commands = shlex.quote(str(Path(sys.executable).parent)).replace("{", "{{").replace("}", "}}")
    return f"export PATH={commands}:$PATH; "


@dataclass(frozen=True)
class Step:
    """What Snakemake must know of a step that makes `outputs`.

    `is_current`: whether they were made from what is there now; where not, the step is due. `awaits`: what it reads
    that is still to be made.
    """

    is_current: bool
    outputs: tuple[Path, ...]
    awaits: tuple[Path, ...]


@dataclass(frozen=True)
class Workflow:
    """The registry and one root as Snakemake's rules see them.

    `gpus`: cards for one training that can share its slices; `sharing`: trainings on one card; `max_hours`: what a
    cluster gives a job at most. `sources`: where data sets are to be read from, by name.
    """

    registry_file: str
    registry: Registry
    layout: Layout
    sources: dict[str, str]
    gpus: int
    sharing: int
    max_hours: int

    @classmethod
    def of(cls, config: Settings, written: Iterable[str] | None) -> "Workflow":
        """The workflow that --config asks for. Raises UserError for what it cannot mean."""
        file = text_given(config, written, "registry", "config/experiments.yaml") or ""
        root = text_given(config, written, "root", ".") or ""
        file = str(expanded(Path(file)))
        registry = load(Path(file))
        found = {name: text_given(config, written, name) for name in registry.datasets if name in config}
        sources = {name: source for name, source in found.items() if source is not None}
        gpus = count_given(config, "gpus", "cards for one training")
        sharing = count_given(config, "sharing", "trainings on one card")
        hours = count_given(config, "max_hours", "hours that a cluster gives a job at most", FOREVER)
        if gpus > 1 and sharing > 1:  # a training of several cards would wait for cards that others hold in part
            raise UserError("--config takes gpus=N or sharing=N, not both: start two calls, one after the other.")
        return cls(file, registry, Layout(expanded(Path(root))), sources, gpus, sharing, hours)

    @property
    def options(self) -> str:
        """What each command of a rule is given."""
        return f"--root={shlex.quote(str(self.layout.root))} --registry={shlex.quote(self.registry_file)}"

    def source(self, dataset: str) -> str:
        """The option that says where a data set is to be read from; nothing for its own addresses."""
        return f"--from={shlex.quote(self.sources[dataset])}" if dataset in self.sources else ""

    @cached_property
    def experiments(self) -> dict[str, Experiment]:
        """All runs by key."""
        return {key: self.registry.experiment(key, self.layout) for key in self.registry.runs}

    # Targets

    def targets(self, datasets: Iterable[str]) -> list[str]:
        """The metrics of all runs on these data sets, and the figures made from them."""
        wanted = set(datasets)
        runs = [str(e.files.metrics) for e in self.experiments.values() if e.run.dataset in wanted]
        figures = [name for name, figure in self.registry.figures.items() if figure.dataset in wanted]
        return [*runs, *(str(file) for name in figures for file in self.layout.figure_files(name))]

    @property
    def paper(self) -> list[str]:
        """The paper's data sets."""
        return [name for name, data in self.registry.datasets.items() if data.is_papers]

    @property
    def demo(self) -> list[str]:
        """Those of the demo."""
        return [name for name, data in self.registry.datasets.items() if data.demo]

    # What is current

    @cached_property
    def _digests(self) -> Digests:
        return Digests(self.layout.digests)

    @cached_property
    def is_current(self) -> dict[Task, bool]:
        """Whether each stage's result was made from the present configuration, data and code."""
        figures = {name: is_drawn(self.registry, self.layout, name) for name in self.registry.figures}
        return {
            **{("fetch", name): self._has_its_images(name) for name in self.registry.datasets},
            **{("train", key): self._has_its_network(e) for key, e in self.experiments.items()},
            **{("evaluate", key): is_evaluated(e) for key, e in self.experiments.items()},
            **{("figures", name): drawn for name, drawn in figures.items()},
        }

    def _has_its_images(self, name: str) -> bool:
        """Whether a data set is fetched, and the stored images, if they are here, are not altered."""
        if not is_fetched(self.layout, name, self.registry.datasets[name]):
            return False
        return not self._digests.is_altered(self.layout.store(name), data_digest(self.layout, name))

    def _has_its_network(self, experiment: Experiment) -> bool:
        """Whether a run is trained, and its network, if it is here, is not altered."""
        if not is_trained(experiment):
            return False
        expected = read_json(experiment.files.manifest)["model_sha256"]
        return not self._digests.is_altered(experiment.files.model, expected)

    def look(self) -> None:
        """Finds out what is current, and keeps the digests of large files for the next call."""
        _ = self.is_current
        self._digests.save()

    # Steps, as rules see them

    def _step(self, task: Task, outputs: Iterable[Path], reads: Mapping[Task, Iterable[Path]]) -> Step:
        """A step that makes these outputs, from files by the task that makes them.

        It awaits nothing where all outputs are there and current: so nothing is made for it in a fresh clone, which has
        no images and no checkpoints. Nor does it await files that are there and current: Snakemake would compare their
        times, which mean nothing after a clone, a copy or a pull, and decide by them.
        """
        made, is_current = tuple(outputs), self.is_current[task]
        if is_current and all(path.exists() for path in made):
            return Step(is_current, made, ())
        awaited = (path for maker, files in reads.items() for path in files if not self._is_there(maker, path))
        return Step(is_current, made, tuple(awaited))

    def _is_there(self, maker: Task, path: Path) -> bool:
        return self.is_current[maker] and path.exists()

    def _images(self, experiment: Experiment) -> dict[Task, list[Path]]:
        dataset = experiment.run.dataset
        return {("fetch", dataset): [self.layout.store(dataset), self.layout.data_manifest(dataset)]}

    def fetching(self, dataset: str) -> Step:
        """Fetching, which reads nothing that a step makes."""
        return self._step(("fetch", dataset), [self.layout.store(dataset)], {})

    def training(self, run: str) -> Step:
        """A training, which reads the stored images and their manifest."""
        experiment = self.experiments[run]
        return self._step(("train", run), [experiment.files.model], self._images(experiment))

    def pruning(self, run: str) -> Step:
        """Pruning alone, of the trained network; where the evaluation is not current, it follows it."""
        files = self.experiments[run].files
        reads: dict[Task, list[Path]] = {("train", run): [files.model], ("evaluate", run): [files.metrics]}
        return self._step(("evaluate", run), [files.pruned], reads)

    def evaluation(self, run: str) -> Step:
        """An evaluation, which prunes first, and reads the trained network, its history and the images."""
        experiment, files = self.experiments[run], self.experiments[run].files
        reads: dict[Task, list[Path]] = {("train", run): [files.model, files.history], **self._images(experiment)}
        return self._step(("evaluate", run), [files.metrics], reads)

    def drawing(self, figure: str) -> Step:
        """A figure's table and drawing, which read the results of its runs."""
        number, runs = self.registry.figures[figure].figure, self.registry.runs_of(figure)
        reads: dict[Task, list[Path]] = {("evaluate", key): result_files(self.layout, number, key) for key in runs}
        return self._step(("figures", figure), self.layout.figure_files(figure), reads)

    # What jobs need

    def decoders(self, run: str, processes: int = 1) -> int:
        """Cores that decode a run's images while it trains, where they are JPEG files, else 0."""
        return DECODERS * processes if self.experiments[run].data.format == "imagenet" else 0

    def cards(self, run: str) -> int:
        """How many GPUs a training takes: as many of those given by --config gpus=N as can share its slices evenly."""
        recipe = self.experiments[run].recipe
        if recipe.device == "cpu":
            return 0
        return max(n for n in range(1, self.gpus + 1) if recipe.slices % n == 0)

    def needs_card(self, run: str) -> bool:
        """Whether an evaluation takes a place on a card."""
        return self.experiments[run].recipe.device == "gpu"

    def megabytes(self, stage: slurm_reservation.Stage, run: str, attempt: int) -> int:
        """The memory that a run's job asks for, by the registry's estimates."""
        processes = max(self.cards(run), 1) if stage == "train" else 1
        decoders = self.decoders(run, processes)
        return slurm_reservation.megabytes(self.experiments[run], stage, attempt, processes, decoders)

    def minutes(self, stage: slurm_reservation.Stage, run: str, attempt: int) -> int:
        """The time that a run's job asks for, by the registry's estimates."""
        return min(slurm_reservation.minutes(self.experiments[run], stage, attempt), self.max_hours * 60)

    def launch(self, run: str) -> str:
        """The command that starts one training: one process for each card."""
        processes = self.cards(run)
        if processes <= 1:
            return "eps-resnet"
        return f"python -m eps_resnet.torchrun --standalone --nproc-per-node {processes} -m eps_resnet"

    @cached_property
    def worth(self) -> dict[str, int]:
        """Priority of each training: cheap and first seeds first, so that a partial sweep can be compared."""
        return {key: rank for rank, key in enumerate(reversed(in_order_of_worth(self.registry)), start=1)}

    @property
    def first(self) -> int:
        """The priority of what finishes a run: before any training."""
        return len(self.worth) + 1

    def title(self, run: str) -> str:
        """The data set of a run, for Snakemake's report."""
        return self.experiments[run].data.title

    def about(self, figure: str) -> dict[str, Any]:
        """What captions of Snakemake's report say of a figure."""
        shown, runs = self.registry.figures[figure], self.registry.runs_of(figure)
        data = self.registry.datasets[shown.dataset]
        configurations = [configuration(run) for run in runs.values()]
        return {
            "title": f"{shown.title} {'of the paper' if shown.is_papers else '(not in the paper)'}",
            "is_papers": shown.is_papers,
            "dataset": data.title,
            "remark": data.remark,
            "runs": list(runs),
            "seeds": max(map(configurations.count, configurations)),
        }

    # What is refused

    def refuse_missing_sources(self, datasets: Iterable[str]) -> None:
        """Raises UserError if one of these data sets is to be read from a file or folder that is not there."""
        for name in datasets:
            source = self.sources.get(name)
            if source is None or source.startswith(("http://", "https://")) or Path(source).exists():
                continue
            if self.registry.datasets[name].format != "digits":  # whose images are read from nowhere
                raise UserError(
                    f"--config {name}={source}: there is no archive or folder at {source}. Nothing was fetched or "
                    "trained; correct the path."
                )

    def refuse_without_gpu(self, trainings: Iterable[str], datasets: Iterable[str]) -> None:
        """Raises UserError if one of these trainings, or one on a data set that is to be fetched, needs a GPU here."""
        from eps_resnet.runs.device import cpu_is_allowed, has_gpu, refusal

        due = {*trainings, *(key for key, e in self.experiments.items() if e.run.dataset in set(datasets))}
        wanted = [self.experiments[key] for key in sorted(due) if self.needs_card(key)]
        if wanted and not cpu_is_allowed() and not has_gpu():
            raise UserError(refusal(wanted))


def refuse_what_a_clusters_shell_misreads(config_words: Iterable[str] | None) -> None:
    """Raises UserError if command lines of submitted jobs would not be what is meant.

    Snakemake quotes configuration and paths for them as Python quotes, which is not how shells read.
    """
    for words in (str(Path.cwd()), sys.executable, *(config_words or ())):
        if not re.fullmatch(r"[\w@%+=:,./~ -]*", words) or (words == sys.executable and " " in words):
            raise UserError(
                "Jobs of a cluster need paths without quotes and other characters that mean something to a shell; "
                f"found {ascii(words)[:200]}. Rename or move that folder."
            )


def refuse_arrays(executor_settings: Any) -> None:
    """Raises UserError before jobs are submitted as an array of Slurm, whose jobs the plugin does not keep apart."""
    if getattr(executor_settings, "array_jobs", None):
        raise UserError(
            "--slurm-array-jobs would judge every training of an array by the results of the first one, and give it "
            "that one's time and memory (docs/cluster.md says how this was seen). Leave it out: each training is then "
            "a job of its own."
        )
