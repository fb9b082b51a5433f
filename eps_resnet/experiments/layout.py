"""Where every file lies below a root: the project itself, or a folder such as demo/ with results of its own."""

from dataclasses import dataclass
from pathlib import Path


def expanded(path: Path) -> Path:
    """The path with the home folder for `~`, which a shell leaves as it is in --option=~/FOLDER."""
    try:
        return path.expanduser()
    except RuntimeError:  # of a user who is not known here
        return path


@dataclass(frozen=True)
class RunFiles:
    """The files of one run's results, in a folder of their own."""

    folder: Path

    @property
    def model(self) -> Path:
        """The trained network at the epoch that is pruned (DVC tracks it)."""
        return self.folder / "model.safetensors"

    @property
    def pruned(self) -> Path:
        """The plain network that pruning leaves (DVC tracks it, or git: `targets.kept_in_git`)."""
        return self.folder / "pruned.safetensors"

    @property
    def history(self) -> Path:
        """One row per epoch."""
        return self.folder / "history.csv"

    @property
    def blocks(self) -> Path:
        """One row per block and recorded epoch."""
        return self.folder / "blocks.parquet"

    @property
    def manifest(self) -> Path:
        """What the run was made from, by what, where and how long it took."""
        return self.folder / "manifest.json"

    @property
    def metrics(self) -> Path:
        """What came out."""
        return self.folder / "metrics.json"


@dataclass(frozen=True)
class Layout:
    """Paths below one root. Nothing here touches the disk."""

    root: Path = Path()

    def store(self, dataset: str) -> Path:
        """Images and labels of a data set (DVC tracks it)."""
        return self.root / "data" / f"{dataset}.safetensors"

    def image_location(self, dataset: str) -> Path:
        """Where the images of a stored listing lie on this machine (nothing tracks it)."""
        return self.root / "data" / f"{dataset}.location.safetensors"

    def data_manifest(self, dataset: str) -> Path:
        """Digest and origin of a data set (git tracks it)."""
        return self.root / "data" / f"{dataset}.json"

    @property
    def downloads(self) -> Path:
        """Archives as they were downloaded."""
        return self.root / "data" / "downloads"

    @property
    def results(self) -> Path:
        """The folder of all results, one folder for each run."""
        return self.root / "results"

    def result_folders(self) -> list[Path]:
        """The folders in it, sorted; not what file managers and editors leave there."""
        found = self.results.iterdir() if self.results.is_dir() else ()
        return sorted(path for path in found if path.is_dir() and not path.name.startswith("."))

    def run(self, key: str) -> RunFiles:
        """The files of a run."""
        return RunFiles(self.results / key)

    def work(self, fingerprint: str) -> Path:
        """Checkpoints of an unfinished training."""
        return self.root / "work" / fingerprint

    def training_lock(self, fingerprint: str) -> Path:
        """Held by the process that trains."""
        return self.root / "work" / f"{fingerprint}.lock"

    @property
    def checks(self) -> "Layout":
        """A root of its own for images that are fetched to check numbers by: those of the project stay as they are."""
        return Layout(self.root / "work" / "checks")

    @property
    def digests(self) -> Path:
        """Digests of large files, so that they are not read each time Snakemake starts."""
        return self.root / ".fingerprints" / "digests.json"

    @property
    def speed(self) -> Path:
        """How fast this machine trains each network, where that was measured."""
        return self.root / "work" / "speed.json"

    def tables(self, figure: str) -> Path:
        """The folder of a figure's tables and drawings."""
        return self.root / "paper_tables" / figure

    def figure_files(self, figure: str) -> list[Path]:
        """What a figure's table and drawing consist of."""
        names = ("table.csv", "table.md", "figure.svg", "figure.png", "figure.pdf")
        return [*(self.tables(figure) / name for name in names), self.summary(figure)]

    def summary(self, figure: str) -> Path:
        """A few numbers of a figure, for `dvc metrics show`."""
        return self.tables(figure) / "summary.json"

    def table_manifest(self, figure: str) -> Path:
        """What a figure's tables were made from."""
        return self.tables(figure) / "manifest.json"

    def log(self, stage: str, name: str) -> Path:
        """What a step of the workflow printed."""
        return self.root / "logs" / stage / f"{name}.log"
