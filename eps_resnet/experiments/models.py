"""What the registry consists of: data sets with their recipes, runs and figures, as pydantic models.

They are the definition of config/experiments.yaml; each key is described where it is defined.
"""

import json
import re
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

Method = Literal["standard", "standard_side", "epsilon_side"]


METHODS: tuple[Method, ...] = get_args(Method)


# Layouts of files. The last two are for a user's own data.
Format = Literal["digits", "cifar10", "cifar100", "svhn", "imagenet", "npz", "folder"]


PublishedName = Literal["CIFAR-10", "CIFAR-100", "SVHN", "ImageNet"]


# Figures by their numbers in the paper, and those of this suite's own by their names.
FigureNumber = Literal["1", "3", "5", "6", "7", "8", "9", "10", "life", "tradeoff"]


FIGURES: tuple[FigureNumber, ...] = get_args(FigureNumber)


# Figures that the paper has not, and what they are called where people read.
OWN_FIGURES: dict[str, str] = {"life": "Gate life", "tradeoff": "Error against cost"}


# Sec. 4, "ImageNet": blocks per stage. 14 layers are the smallest such network, for tests and first looks.
IMAGENET_BLOCKS = {14: (1, 1, 1, 1), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


# Snakemake's --config, its targets and its rules have these names of their own beside those of data sets.
RESERVED = (
    *("root", "registry", "gpus", "sharing", "max_hours"),
    *("all", "demo", "fetch", "train", "prune", "evaluate", "figure"),
)


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


class RateSteps(Strict):
    """Epochs after which the rate falls, where baselines are trained for another time than epsilon-ResNets."""

    standard: tuple[Count, ...] = Field(description="Of `standard` and `standard_side`.")
    epsilon: tuple[Count, ...] = Field(description="Of `epsilon_side`, as long as no block is lost.")


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
    first_rate: Positive | None = Field(
        None, description="Learning rate of the first epoch, as in the reference code's plots. null: `rate`."
    )
    rate_steps: tuple[Count, ...] | RateSteps = Field(
        description="The rate falls to a tenth after each of these epochs; where methods differ, a list for each."
    )
    adaptive_steps: tuple[Count, ...] | None = Field(
        None, description="Epochs after a restart at which the rate falls to a tenth. null: no adaptive rule."
    )
    late_rate: LateRate | None = Field(None, description="The reference code's 2e-4 late in a training. null: none.")
    restart_on: Literal["discarded", "running_average"] = Field(
        "discarded",
        description="What restarts the rate: one more discarded block than an epoch before (paper), or a running "
        "average of the closed gates, up by 0.999 (reference code); an epoch counts as 390 steps, whatever its length.",
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
        description="Of convolutions and linear layers: float32, or on GPUs TF32, or bfloat16, which the maps between "
        "them then have too. Parameters, running statistics, the gates' comparison and the loss are always in float32. "
        "Anything but float32 is a variant that is never compared with the paper.",
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

    def epochs_of(self, method: Method) -> int:
        """How many epochs a training by this method lasts."""
        return self.epochs.epsilon if method == "epsilon_side" else self.epochs.standard

    def rate_steps_of(self, method: Method) -> tuple[int, ...]:
        """Epochs after which the rate of such a training falls, as long as nothing restarts it."""
        if not isinstance(self.rate_steps, RateSteps):
            return self.rate_steps
        return self.rate_steps.epsilon if method == "epsilon_side" else self.rate_steps.standard

    def changed(self, changes: dict[str, Any]) -> "Recipe":
        """The recipe with other values of some keys. Raises ValidationError if they make no recipe."""
        document = {**self.model_dump(mode="json"), **changes}
        return Recipe.model_validate_json(json.dumps(document), strict=True)

    @model_validator(mode="after")
    def _steps_increase(self) -> "Recipe":
        lists = {f"rate_steps of {method}": self.rate_steps_of(method) for method in METHODS}
        for name, steps in {**lists, "adaptive_steps": self.adaptive_steps or ()}.items():
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
    sha256: Sha256 | None = Field(
        None,
        description="Digest of the archive; in format `folder`, of the names and bytes of its images. null: embedded "
        "or a set of files.",
    )
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


class Variant(Strict):
    """Another way to train on a data set, taken by the runs that name it."""

    title: str = Field(description="What it is, in tables: such as `as many steps`.")
    recipe: dict[str, Any] = Field(description="The keys of the recipe that have other values.")


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
    format: Format = Field(description="Layout of its files: which module of eps_resnet/data reads them.")
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
    depths: dict[Count, dict[str, Any]] = Field(
        {}, description="Keys of the recipe that have other values for networks of that depth."
    )
    baseline_decay: float | None = Field(
        None,
        description="Weight decay of the baselines by which claim 1 is judged, chosen beforehand. null: the recipe's.",
    )
    variants: dict[Name, Variant] = Field({}, description="Other ways to train, by the name that runs give.")

    @property
    def is_papers(self) -> bool:
        """Whether it stands for the paper's own experiment, in full."""
        return self.published_name is not None and not self.reduced

    def recipe_of(self, run: "Run") -> Recipe:
        """The recipe of a run: with what its depth, its variant and its own weight decay change."""
        changes = dict(self.depths.get(run.depth, {}))
        if run.variant is not None:
            changes |= self.variants[run.variant].recipe
        if run.weight_decay is not None:
            changes["weight_decay"] = run.weight_decay
        return self.recipe.changed(changes) if changes else self.recipe

    def variant_title(self, run: "Run") -> str | None:
        """What its variant is called in tables; None if it has none."""
        return None if run.variant is None else self.variants[run.variant].title

    @model_validator(mode="after")
    def _changes_are_recipes(self) -> "DataSet":
        changes = {f"depths.{depth}": keys for depth, keys in self.depths.items()}
        changes |= {f"variants.{name}.recipe": variant.recipe for name, variant in self.variants.items()}
        for place, keys in changes.items():
            try:
                recipe = self.recipe.changed(keys)
            except ValidationError as error:
                key, message = ".".join(map(str, error.errors()[0]["loc"])), error.errors()[0]["msg"]
                raise ValueError(f"{place}: {key or 'recipe'}: {message.removeprefix('Value error, ')}") from None
            if recipe == self.recipe:
                raise ValueError(f"{place}: changes nothing of the recipe; leave it out")
        return self

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
    variant: Name | None = Field(None, description="One of its data set's other ways to train.")
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
        if self.variant is not None:
            parts.append(self.variant)
        return "-".join([*parts, f"s{self.seed}"])


def _without_dot(number: float) -> str:
    return f"{number:.10f}".rstrip("0").replace(".", "p") + ("0" if number == int(number) else "")


class Select(Strict):
    """The runs a figure needs: all that match, whatever their seed or weight decay."""

    depths: tuple[Count, ...]
    methods: tuple[Method, ...]
    any_epsilon: bool = Field(False, description="Take every epsilon there is, not the recipe's alone.")
    variants: tuple[Name, ...] = Field((), description="Variants whose runs are taken too.")

    def matches(self, run: Run, epsilons: tuple[float, ...]) -> bool:
        """Whether the figure needs this run of its data set, whose recipe has these epsilons."""
        return (
            run.depth in self.depths
            and run.method in self.methods
            and run.variant in (None, *self.variants)
            and (run.epsilon is None or self.any_epsilon or run.epsilon in epsilons)
        )


def stem_of(figure: str) -> str:
    """What names begin with that belong to a figure, such as `figure6`; one of this suite's own has its name alone."""
    return figure if figure in OWN_FIGURES else f"figure{figure}"


class Figure(Strict):
    """One figure of the paper, or one of this suite's own, on one data set."""

    figure: FigureNumber = Field(description="Its number in the paper, or the name of one that the paper has not.")
    dataset: str
    select: Select

    @property
    def name(self) -> str:
        """What it is called in the registry, such as `figure6-cifar10` or `life-digits`."""
        return f"{stem_of(self.figure)}-{self.dataset}"

    @property
    def is_papers(self) -> bool:
        """Whether the paper has it."""
        return self.figure not in OWN_FIGURES

    @property
    def title(self) -> str:
        """What it is called where people read."""
        return OWN_FIGURES.get(self.figure, f"Figure {self.figure}")
