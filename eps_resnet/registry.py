"""The registry: every data set with its recipe, every run and every figure, read from config/experiments.yaml.

These models are the definition of the file's format. `json_schema()` is written to
workflow/schemas/experiments.schema.json, which Snakemake validates the file against.
"""

import json
import re
import reprlib
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from yaml.composer import Composer

from eps_resnet.errors import UserError

Method = Literal["standard", "standard_side", "epsilon_side"]
METHODS: tuple[Method, ...] = get_args(Method)
PublishedName = Literal["CIFAR-10", "CIFAR-100", "SVHN", "ImageNet"]
# Sec. 4, "ImageNet": blocks per stage. 14 layers are the smallest such network, for tests and first looks.
IMAGENET_BLOCKS = {14: (1, 1, 1, 1), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}

# A registry is written by hand: what is larger than this is none, and is not read any further.
LARGEST_FILE = 2**20  # bytes
MOST_NODES = 50_000  # keys, values, lists and mappings, with every alias written out; the project's own has 1,500
DEEPEST = 20  # lists and mappings inside one another
LONGEST_TEXT, LONGEST_NUMBER = 2000, 40  # characters
READ_OTHERWISE = set("\t!\ufeff")  # tabs, tags, byte order marks: libyaml takes them otherwise than PyYAML
LONGEST_LINE, MOST_MISTAKES = 400, 20  # of a message: characters in a line, mistakes that are named

# Snakemake's --config and its targets have these names of their own beside those of data sets.
RESERVED = ("root", "registry", "gpus", "sharing", "max_hours", "all", "demo")


def _is_not_reserved(name: str) -> str:
    if name in RESERVED:
        raise ValueError(f"on Snakemake's command line {name!r} means something else; choose another name")
    return name


def _is_address(url: str) -> str:
    # Ends in the name under which the file is stored.
    if not re.fullmatch(
        r"https?://[A-Za-z0-9.-]+(:[0-9]+)?/([!$%&'()*+,:;=?@\w.~-]*/)*\w[!$%&'()*+,:;=?@\w.~-]*", url, re.A
    ):
        raise ValueError("must be an http:// or https:// address that ends in the name of a file")
    return url


# Patterns of pydantic's engine: $ is the end of the text, not of a line.
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Md5 = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=64), AfterValidator(_is_not_reserved)]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.+-]*$", max_length=128)]
Url = Annotated[str, AfterValidator(_is_address)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1, lt=2**31)]


def _ascends(limits: tuple[float, float]) -> tuple[float, float]:
    if limits[0] > limits[1]:
        raise ValueError("the first limit must not be above the second")
    return limits


Range = Annotated[tuple[Positive, Positive], AfterValidator(_ascends)]


class Strict(BaseModel):
    """A frozen model that refuses keys it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Epochs(Strict):
    """Length of a training. The paper trains epsilon-ResNets longer than the baselines (Sec. 4)."""

    standard: Count = Field(description="Epochs of `standard` and `standard_side`.")
    epsilon: Count = Field(description="Epochs of `epsilon_side`.")


class AreaCrop(Strict):
    """Crops of random area and shape, resized to the data set's size (Sec. 4, "ImageNet")."""

    share: Range = Field(description="Range of the crop's share of the image's area.")
    aspect: Range = Field(description="Range of the crop's ratio of width to height.")
    test_short_side: Count = Field(description="Short side, in pixels, that test images have before the centre crop.")


class Augmentation(Strict):
    """Random transformations of the training images, drawn anew for each image and epoch."""

    pad: int = Field(
        0, ge=0, lt=2**31, description="Zero padding, in pixels, before a random crop back to the image's size."
    )
    flip: bool = Field(False, description="Mirror left and right with probability 1/2.")
    brightness: float = Field(0, ge=0, description="Largest brightness shift, in raw pixel values.")
    contrast: Range | None = Field(None, description="Range of the contrast factor.")
    elastic: bool = Field(False, description="Random elastic deformation (SVHN, reference code).")
    area: AreaCrop | None = Field(None, description="Crops of random area and shape (ImageNet). null: none.")
    saturation: float = Field(0, ge=0, le=1, description="Largest change of the saturation, as a share (ImageNet).")
    lighting: float = Field(0, ge=0, description="Standard deviation of the PCA lighting (ImageNet).")


class LateRate(Strict):
    """The reference code's last fall of the learning rate, late in a training; the paper has none."""

    rate: Positive = Field(description="The rate from then on.")
    epoch: Count = Field(description="It holds after this epoch, before any restart.")
    adaptive_epoch: Count = Field(description="It holds so many epochs after a restart.")


class Recipe(Strict):
    """How networks are trained on one data set. Differences of paper and reference code: docs/fidelity.md."""

    network: Literal["cifar", "imagenet"] = Field(description="Family of networks.")
    device: Literal["cpu", "gpu"] = Field(description="`gpu`: refuses to train without one, unless told to.")
    batch: Count = Field(description="Images in a mini-batch. The gate decides once per mini-batch.")
    drop_last: bool = Field(True, description="Leave out the last, partial mini-batch of an epoch.")
    epochs: Epochs
    epoch_steps: Count | None = Field(None, description="Steps in an epoch, where it is not one pass over the images.")
    rate: Positive = Field(description="Learning rate at the start and after a restart.")
    rate_steps: tuple[Count, ...] = Field(description="The rate falls to a tenth after each of these epochs.")
    adaptive_steps: tuple[Count, ...] | None = Field(
        None, description="Epochs after a restart at which the rate falls to a tenth. null: no adaptive rule."
    )
    late_rate: LateRate | None = Field(None, description="The reference code's 2e-4 late in a training. null: none.")
    restart_on: Literal["discarded", "running_average"] = Field(
        "discarded",
        description="What restarts the rate: one more discarded block than an epoch before (paper), "
        "or a running average of the closed gates, up by 0.999 (reference code).",
    )
    momentum: float = Field(0.9, ge=0, lt=1, description="Momentum of SGD.")
    nesterov: bool = Field(False, description="Nesterov's momentum.")
    weight_decay: float = Field(ge=0, description="L2 decay of the parameters named by `decay_on`.")
    decay_on: Literal["weights", "all"] = Field(
        "weights", description="What decays: convolution and linear weights, or all parameters."
    )
    weight_decay_every: Count = Field(480_000, description="Steps after which the decay is multiplied by its factor.")
    weight_decay_factor: float = Field(0.2, gt=0, le=1, description="That factor.")
    epsilons: tuple[Positive, ...] = Field(description="The paper's epsilons: what figures show unless they say else.")
    slices: Count = Field(
        1,
        description="Equal parts of a mini-batch that are normalised alone, as on the devices of a data-parallel "
        "training. Results depend on it, not on how many processes share the work.",
    )
    gate_scope: Literal["slice", "batch"] = Field(
        "slice", description="What a gate decides for: each slice (reference code), or the whole mini-batch."
    )
    discarded_in_evaluation: Literal["identity", "gated"] = Field(
        "identity",
        description="What evaluation takes a block for that was discarded in the same epoch: the identity that pruning "
        "makes of it, or a gate like the others, which may open under running statistics.",
    )
    epsilon_start_epoch: int = Field(0, ge=0, lt=2**31, description="Epochs during which epsilon is held at 0.")
    test_every: Count = Field(
        1, description="Epochs from one test error to the next; the last epoch has one too. It changes no training."
    )
    discard_window: Count = Field(238, description="Last batches of an epoch in which a discarded block never opened.")
    side_weight: float = Field(0.1, ge=0, description="Weight of the side head's loss.")
    precision: Literal["float32", "tf32", "bfloat16"] = Field(
        "float32",
        description="Of convolutions and linear layers: float32, or on GPUs TF32, or bfloat16. Batch norm, gates and "
        "loss are always in float32. Anything but float32 is a variant that is never compared with the paper.",
    )
    compiled: bool = Field(
        False,
        description="Compile the blocks' layers by torch.compile, which rounds otherwise: a variant that is never "
        "compared with the paper.",
    )
    augmentation: Augmentation
    pixel_divisor: Positive | None = Field(
        None, description="Pixels are divided by this, after the mean image is subtracted. null: as usual on ImageNet."
    )
    stride_padding: Literal["same", "symmetric"] = Field(
        "same", description="Padding at stride 2: TensorFlow's SAME (3x3: 0 before, 1 after) or PyTorch's."
    )
    initialisation: Literal["variance_scaling", "gaussian"] = Field(
        "variance_scaling", description="Reference code's variance scaling, or the paper's Gaussian of std 0.01."
    )

    @model_validator(mode="after")
    def _steps_increase(self) -> "Recipe":
        for name in ("rate_steps", "adaptive_steps"):
            steps = getattr(self, name) or ()
            if list(steps) != sorted(set(steps)):
                raise ValueError(f"{name} must increase from one epoch to the next, found {list(steps)}")
        return self

    @model_validator(mode="after")
    def _epsilon_starts_in_time(self) -> "Recipe":
        if self.epsilon_start_epoch >= self.epochs.epsilon:
            raise ValueError(
                f"epsilon_start_epoch must be less than the {self.epochs.epsilon} epochs, found "
                f"{self.epsilon_start_epoch}"
            )
        return self

    @model_validator(mode="after")
    def _slices_are_equal(self) -> "Recipe":
        if self.batch % self.slices or (self.slices > 1 and (not self.drop_last or self.batch == self.slices)):
            raise ValueError(
                f"slices must divide the batch of {self.batch} into parts of two images or more, and a partial batch "
                f"must be dropped; found {self.slices}"
            )
        return self


class Archive(Strict):
    """One accepted copy of a data set: nothing is parsed whose SHA-256 is not listed here."""

    name: str = Field(description="How the copy is called in manifests and tables.")
    urls: tuple[Url, ...] = Field(
        (),
        description="Addresses of the archive, tried in order, or without `sha256` one of each of `files`. "
        "Empty: to be given by the user.",
    )
    sha256: Sha256 | None = Field(None, description="Digest of the archive. null: embedded or a set of files.")
    files: dict[FileName, Sha256] = Field({}, description="Digests of the files inside, for an unpacked folder.")
    md5: dict[FileName, Md5] = Field({}, description="MD5 of the archives, where their publisher gives no SHA-256.")
    sample_sha256: Sha256 | None = Field(
        None, description="Digest of a sample of the images, for a folder too large to digest. null: not known."
    )
    classes: Count | None = Field(None, description="Classes in it. null: those of the data set.")
    train_images: Count = Field(
        description="Training images that are taken from it: the first of each of its files, evenly, if it has more."
    )
    test_images: Count = Field(description="Test images that are taken from it.")
    differs: str | None = Field(None, description="How it differs from the official release. null: it is that.")


class DataSet(Strict):
    """A data set: its images, its accepted copies and its recipe."""

    title: str = Field(description="Name in tables and figures.")
    demo: bool = Field(False, description="Whether `snakemake demo` runs it.")
    reduced: dict[str, str] = Field(
        {},
        description="For a smaller version of a published data set's experiment: why it differs from the paper's, for "
        "each key in which it does. Its numbers are shown beside the paper's and never compared.",
    )
    validation: bool = Field(
        False,
        description="The test images are the training images that follow those trained on: for choosing a recipe.",
    )
    format: Literal["digits", "cifar10", "cifar100", "svhn", "imagenet"] = Field(
        description="Layout of its files: which module of eps_resnet/data reads them."
    )
    published_name: PublishedName | None = Field(
        None, description="Name in paper_tables/published. null: not in the paper."
    )
    classes: Count
    channels: Literal[1, 3]
    size: Count = Field(
        description="Height and width of an image, in pixels. Less than its copies have: areas of them are averaged."
    )
    archives: tuple[Archive, ...] = Field(min_length=1, description="Its accepted copies.")
    remark: str | None = Field(None, description="What must be said beside every number of this data set.")
    recipe: Recipe

    @property
    def is_papers(self) -> bool:
        """Whether it stands for the paper's own experiment, in full."""
        return self.published_name is not None and not self.reduced

    @model_validator(mode="after")
    def _is_a_version_of_a_published_one(self) -> "DataSet":
        if self.reduced and self.published_name is None:
            raise ValueError("reduced: needs the published_name of the data set that it is a smaller version of")
        return self


class Run(Strict):
    """One training: what is trained on what, with which seed."""

    dataset: str
    depth: Count = Field(description="Layers: 6n+2 for CIFAR-style networks; 14, 101 or 152 for ImageNet.")
    method: Method
    epsilon: Positive | None = Field(None, description="Threshold of the gates; for `epsilon_side` alone.")
    weight_decay: float | None = Field(None, ge=0, description="Overrides the recipe's decay.")
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0

    @model_validator(mode="after")
    def _epsilon_fits_the_method(self) -> "Run":
        if self.method == "epsilon_side" and self.epsilon is None:
            raise ValueError("epsilon is missing: method epsilon_side needs one greater than 0")
        if self.method != "epsilon_side" and self.epsilon is not None:
            raise ValueError(f"epsilon must not be given for method {self.method}, found {self.epsilon}")
        return self

    @property
    def key(self) -> str:
        """The run's name, such as `cifar10-110-epsilon_side-2p5-s0`. DVC splits names at dots, so it has none."""
        parts = [self.dataset, str(self.depth), self.method]
        if self.epsilon is not None:
            parts.append(_without_dot(self.epsilon))
        if self.weight_decay is not None:
            parts.append("wd" + _without_dot(self.weight_decay))
        return "-".join([*parts, f"s{self.seed}"])


def _without_dot(number: float) -> str:
    return f"{number:.10f}".rstrip("0").replace(".", "p") + ("0" if number == int(number) else "")


class Select(Strict):
    """The runs a figure needs: all that match, whatever their seed or weight decay."""

    depths: tuple[Count, ...]
    methods: tuple[Method, ...]
    any_epsilon: bool = Field(False, description="Take every epsilon there is, not the recipe's alone.")

    def matches(self, run: Run, epsilons: tuple[float, ...]) -> bool:
        """Whether the figure needs this run of its data set, whose recipe has these epsilons."""
        return (
            run.depth in self.depths
            and run.method in self.methods
            and (run.epsilon is None or self.any_epsilon or run.epsilon in epsilons)
        )


class Figure(Strict):
    """One figure of the paper, on one data set."""

    figure: Literal["1", "3", "5", "6", "7", "8", "9", "10"] = Field(description="Its number in the paper.")
    dataset: str
    select: Select


class Registry(Strict):
    """config/experiments.yaml."""

    simulated: bool = Field(
        False, description="A rehearsal of the workflow: results are invented (`eps-resnet simulate`), never compared."
    )
    datasets: dict[Name, DataSet]
    runs: dict[str, Run]
    figures: dict[str, Figure]

    @model_validator(mode="after")
    def _augmentation_fits_the_format(self) -> "Registry":
        for name, data in self.datasets.items():
            crops = data.recipe.augmentation
            has_own = crops.area is not None or crops.saturation > 0 or crops.lighting > 0
            has_others = crops.pad > 0 or crops.elastic
            is_jpeg = data.format == "imagenet"
            if is_jpeg != (crops.area is not None) or (has_others if is_jpeg else has_own):
                raise ValueError(
                    f"datasets.{name}.recipe.augmentation: area, saturation and lighting belong to format imagenet, "
                    "which needs area; pad and elastic belong to the others"
                )
            if (data.format == "imagenet") == (data.recipe.pixel_divisor is not None):
                raise ValueError(
                    f"datasets.{name}.recipe.pixel_divisor: must be given, but not for format imagenet; "
                    f"found {data.recipe.pixel_divisor}"
                )
        return self

    @model_validator(mode="after")
    def _published_names_are_unique(self) -> "Registry":
        owners: dict[str, str] = {}
        for name, data in self.datasets.items():
            if (
                data.is_papers
                and data.published_name
                and (owner := owners.setdefault(data.published_name, name)) != name
            ):
                raise ValueError(
                    f"datasets.{name}.published_name: {data.published_name!r} is already that of {owner!r}; "
                    "the paper's numbers can belong to one data set only; a smaller version of it needs `reduced`"
                )
        return self

    @model_validator(mode="after")
    def _is_consistent(self) -> "Registry":
        for key, run in self.runs.items():
            data = self.datasets.get(run.dataset)
            if data is None:
                raise ValueError(f"runs.{key}.dataset: {run.dataset!r} is not one of {sorted(self.datasets)}")
            _check_depth(f"runs.{key}.depth", run.depth, data.recipe.network)
            if run.weight_decay == data.recipe.weight_decay:
                raise ValueError(
                    f"runs.{key}.weight_decay: {run.weight_decay:g} is the recipe's own, so this would be one seed "
                    "twice; leave it out"
                )
            if key != run.key:
                raise ValueError(f"runs.{key}: a run with these values is called {run.key!r}")
        for name, figure in self.figures.items():
            if figure.dataset not in self.datasets:
                raise ValueError(f"figures.{name}.dataset: {figure.dataset!r} is not one of {sorted(self.datasets)}")
            if name != f"figure{figure.figure}-{figure.dataset}":
                raise ValueError(f"figures.{name}: it is called 'figure{figure.figure}-{figure.dataset}'")
            if not self.runs_of(name):
                raise ValueError(f"figures.{name}.select: no run matches")
        return self

    def run(self, key: str) -> Run:
        """The run of that key. Raises UserError with the nearest keys if there is none."""
        if key not in self.runs:
            raise UserError(_unknown("run", key, self.runs))
        return self.runs[key]

    def figure(self, name: str) -> Figure:
        """The figure of that name. Raises UserError if there is none."""
        if name not in self.figures:
            raise UserError(_unknown("figure", name, self.figures))
        return self.figures[name]

    def dataset(self, name: str) -> DataSet:
        """The data set of that name. Raises UserError if there is none."""
        if name not in self.datasets:
            raise UserError(_unknown("data set", name, self.datasets))
        return self.datasets[name]

    def runs_of(self, figure_name: str) -> dict[str, Run]:
        """The runs a figure needs, by key, in the registry's order."""
        figure = self.figures[figure_name]
        epsilons = self.datasets[figure.dataset].recipe.epsilons
        return {
            k: r for k, r in self.runs.items() if r.dataset == figure.dataset and figure.select.matches(r, epsilons)
        }


def _check_depth(where: str, depth: int, network: str) -> None:
    if network == "imagenet" and depth not in IMAGENET_BLOCKS:
        raise ValueError(f"{where}: must be one of {', '.join(map(str, IMAGENET_BLOCKS))}, found {depth}")
    if network == "cifar" and (depth < 8 or (depth - 2) % 6):
        raise ValueError(f"{where}: must be 6n+2 (8, 14, 20, ... 110, ...), found {depth}")


def _unknown(kind: str, name: str, known: dict[str, Any]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, known, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}"
    return f"No {kind} is called {name!r} in the registry; {hint}"


def recipe_of(registry: Registry, run: Run) -> Recipe:
    """The recipe of a run: its data set's, with the run's own weight decay if it has one."""
    recipe = registry.datasets[run.dataset].recipe
    return recipe if run.weight_decay is None else recipe.model_copy(update={"weight_decay": run.weight_decay})


def load(path: Path) -> Registry:
    """Reads and checks the registry. Raises UserError naming each wrong key, its value and what is allowed.

    Whatever the file holds, nothing else is raised, no more than MOST_NODES of it are read, and the message is short
    and printable.
    """
    document = read(path)
    try:
        # As JSON, of which each value has one type: "yes" is no number and 1 is no boolean.
        return Registry.model_validate_json(json.dumps(document), strict=True)
    except ValidationError as error:
        raise UserError(f"{shown(path)} is not valid:\n" + "\n".join(explain(error))) from None


def as_yaml(registry: Registry) -> str:
    """The registry as a file that `load` reads; what has its default value is left out."""
    document = registry.model_dump(mode="json", exclude_defaults=True)
    return yaml.safe_dump(document, sort_keys=False, width=120, default_flow_style=None)


def read(path: Path) -> dict[str, Any]:
    """The document in a registry's file, not yet checked: mappings with texts as keys, lists, texts, numbers, null.

    Raises UserError if the file cannot be read, is too large, or is no YAML that a registry may consist of.
    """
    where = shown(path)
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except FileNotFoundError:
        raise UserError(f"No registry at {where}; run from the top folder of the project.") from None
    except OSError as error:
        raise UserError(f"The registry {where} cannot be read: {error.strerror}.") from None
    if len(content) > LARGEST_FILE:
        raise UserError(f"{where} is no registry: it has more than {LARGEST_FILE:,} bytes.")
    try:
        document = _parse(content.decode())
    except UnicodeDecodeError as error:
        raise UserError(f"{where} is not valid YAML: byte {error.start:,} is no UTF-8 ({error.reason}).") from None
    except yaml.reader.ReaderError as error:
        raise UserError(
            f"{where} is not valid YAML: character {error.position:,} is the control character "
            f"U+{error.character:04X}; delete it."
        ) from None
    except _Refusal as error:
        raise UserError(f"{where}, line {_line_of(error)}: {shown(error.problem)}") from None
    except yaml.MarkedYAMLError as error:
        words = ", ".join(filter(None, (error.context, error.problem)))
        raise UserError(f"{where} is not valid YAML: line {_line_of(error)}: {shown(words)}") from None
    if not isinstance(document, dict):
        found = _REPR.repr(document)
        raise UserError(f"{where} is no registry: expected datasets, runs and figures, found {shown(found)}.")
    return document


class _Refusal(yaml.MarkedYAMLError):
    """YAML that is no part of a registry."""

    def __init__(self, problem: str, mark: Any) -> None:
        super().__init__(problem=problem, problem_mark=mark)


def _line_of(error: yaml.MarkedYAMLError) -> int:
    mark = error.problem_mark or error.context_mark
    return mark.line + 1 if mark else 1


def _parse(text: str) -> Any:
    """Reads by libyaml, which is faster; what it refuses is read again by PyYAML's own parser, for its messages."""
    if yaml.__with_libyaml__ and not READ_OTHERWISE & set(text):
        with suppress(yaml.YAMLError):
            return _FastLoader(text).get_single_data()
    loader = _Loader(text)
    try:
        return loader.get_single_data()
    except (ValueError, OverflowError):  # what PyYAML itself does not expect
        problem = "an escape (\\U...) or a directive (%YAML ...) has a number that cannot be"
        raise _Refusal(problem, loader.get_mark()) from None
    finally:
        loader.dispose()


class _Composer(Composer):
    """For documents of a bounded size without dates, tags, control characters and repeated keys."""

    PLAIN = "tag:yaml.org,2002:"
    SCALARS = ("str", "int", "float", "bool", "null", "merge")

    def __init__(self) -> None:
        Composer.__init__(self)  # not the next of a loader's several bases, whose constructors do not call one another
        self._nodes = 0  # so far, with aliases written out
        self._level = 0  # of lists and mappings around the present place
        self._deepest = 0  # level inside the present list or mapping
        self._extent: dict[Any, tuple[int, int]] = {}  # nodes in it and levels below it, of each node that is complete

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Counts nodes and levels; what an alias stands for counts each time."""
        event = self.peek_event()  # type: ignore[attr-defined]  # of the loader
        before, deepest_around = self._nodes, self._deepest
        self._level += 1
        self._count(1, 0, event)
        node = super().compose_node(parent, index)
        if isinstance(event, yaml.AliasEvent):
            if node not in self._extent:
                raise _Refusal(f"the alias *{event.anchor} stands inside of what it stands for", event.start_mark)
            self._count(*self._extent[node], event)
        else:
            self._extent[node] = (self._nodes - before, self._deepest - self._level)
        self._level -= 1
        self._deepest = max(deepest_around, self._deepest)
        return node

    def _count(self, nodes: int, levels: int, event: Any) -> None:
        self._nodes += nodes
        self._deepest = self._level + levels
        if self._nodes > MOST_NODES:
            raise _Refusal(f"a registry has no more than {MOST_NODES:,} keys and values", event.start_mark)
        if self._deepest > DEEPEST:
            raise _Refusal(f"a registry has no more than {DEEPEST} levels", event.start_mark)

    def compose_scalar_node(self, anchor: Any) -> yaml.ScalarNode:
        """Refuses what is no short, printable text, number, boolean or null."""
        node = super().compose_scalar_node(anchor)
        kind, value, shown = node.tag.removeprefix(self.PLAIN), node.value, _REPR.repr
        if kind not in self.SCALARS:
            raise _Refusal(
                f"{shown(value)} is of type {shown(kind)}; expected a text (in quotes), a number, true, false or null",
                node.start_mark,
            )
        if not value.isprintable():
            raise _Refusal(
                f"{shown(value)}: a text is one line of printable characters; where it is folded, begin it with >-",
                node.start_mark,
            )
        if len(value) > (LONGEST_NUMBER if kind in ("int", "float") else LONGEST_TEXT):
            raise _Refusal(f"{shown(value)} is too long, it has {len(value):,} characters", node.start_mark)
        if kind != "merge":
            try:
                self.construct_object(node)  # type: ignore[attr-defined]  # of the loader
            except (ValueError, LookupError, ArithmeticError):
                raise _Refusal(f"{shown(value)} is no {kind}", node.start_mark) from None
        return node

    def compose_sequence_node(self, anchor: Any) -> yaml.SequenceNode:
        """Refuses lists with a tag."""
        node = super().compose_sequence_node(anchor)
        self._refuse_tag(node, "seq")
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Refuses mappings with a tag, with keys other than texts, or with a key twice: one would silently win."""
        node = super().compose_mapping_node(anchor)
        self._refuse_tag(node, "map")
        seen: set[str] = set()
        for key, _ in node.value:
            if key.tag not in (f"{self.PLAIN}str", f"{self.PLAIN}merge"):
                raise _Refusal("a key is a text: put it in quotes", key.start_mark)
            if key.value in seen:
                raise _Refusal(f"the key {_REPR.repr(key.value)} stands here twice; leave one of them", key.start_mark)
            seen.add(key.value)
        return node

    def _refuse_tag(self, node: yaml.CollectionNode, kind: str) -> None:
        if node.tag != self.PLAIN + kind:
            raise _Refusal(f"a list or mapping has no tag here, found {_REPR.repr(node.tag)}", node.start_mark)


class _Loader(_Composer, yaml.SafeLoader):
    """The safe loader."""

    def __init__(self, text: str) -> None:
        yaml.SafeLoader.__init__(self, text)
        _Composer.__init__(self)


if yaml.__with_libyaml__:

    class _FastLoader(_Composer, yaml.CSafeLoader):
        """The safe loader with libyaml's scanner and parser."""

        def __init__(self, text: str) -> None:
            yaml.CSafeLoader.__init__(self, text)
            _Composer.__init__(self)


_REPR = reprlib.Repr()  # cuts off what is long or deep
_REPR.maxlevel, _REPR.maxstring, _REPR.maxother = 2, 60, 60


def explain(error: ValidationError) -> Iterator[str]:
    """One line for each mistake of a document: its place, what is allowed, what was found; the first ones of many."""
    mistakes = error.errors(include_url=False)
    for item in islice(mistakes, MOST_MISTAKES):
        where = ".".join(part if len(part) <= 64 else f"{part[:60]}..." for part in map(str, item["loc"]))
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            message = "this key is not known"
        if item["type"] == "float_type" and isinstance(item["input"], str):
            message += " (YAML wants a dot in it, as in 1.0e-4)"
        found = "" if isinstance(item["input"], dict) else f", found {_REPR.repr(item['input'])}"
        yield shown(f"  {where}: {message}{found}" if where else f"  {message}")
    if len(mistakes) > MOST_MISTAKES:
        yield f"  and {len(mistakes) - MOST_MISTAKES:,} mistakes more"


def shown(words: object) -> str:
    """Words as one short line of a message: a terminal obeys control characters, so they are escaped."""
    text = str(words)
    line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[: LONGEST_LINE + 1])
    return line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]} ..."


def json_schema() -> dict[str, Any]:
    """The JSON schema of config/experiments.yaml."""
    schema = Registry.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
