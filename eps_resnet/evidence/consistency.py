"""The paper against itself: checks that use nothing but its published numbers and exact sizes of networks."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Literal, NamedTuple, TypeVar

from eps_resnet.evidence import published
from eps_resnet.evidence.claims.shares import stage_rises
from eps_resnet.evidence.published import Number
from eps_resnet.experiments.models import IMAGENET_BLOCKS
from eps_resnet.files.errors import UserError
from eps_resnet.measure.size import MIB, size_of
from eps_resnet.method.networks.architecture import Architecture

MEGABYTE = 10**6
CLASSES = {"CIFAR-10": 10, "CIFAR-100": 100, "SVHN": 10, "ImageNet": 1000}
DEPTHS = {"CIFAR-10": (110, 200, 500, 752), "CIFAR-100": (110, 200, 500, 752), "SVHN": (110, 200, 302)}  # Fig. 6a-c
EPSILON = {"CIFAR-10": 2.5, "CIFAR-100": 2.5, "SVHN": 1.5}  # Sec. 4
IMAGENET = ((101, 2.0), (101, 2.1), (152, 1.8))  # Sec. 4, "ImageNet": depths and their epsilons
SIDE_HEAD = {101: (2, 8), 152: (2, 13)}  # ImageNet's, stage and block counted from 0 (reference code)
ERRORS = {"CIFAR-10": "6a", "CIFAR-100": "6b", "SVHN": "6c"}
RATIOS = {"CIFAR-10": "6e", "CIFAR-100": "6f", "SVHN": "6g", "ImageNet": "6h"}
SIZES = {"CIFAR-10": "7a", "CIFAR-100": "7b", "SVHN": "7c", "ImageNet": "7d"}
KEPT = {"CIFAR-10": "10a", "CIFAR-100": "10b"}
TEXT_SVHN_DEPTH = 100  # Sec. 4, "SVHN": the shallowest network
TEXT_STANDARD_EPOCHS = 200  # Sec. 4: 78,000 steps of the CIFAR baselines, 390 an epoch
CODE_EPSILON_FROM = 150  # reference code, CIFAR script: epsilon is 0 until this epoch
EPOCH_STEPS = 390  # reference code: 50,000 images in batches of 128, the partial one dropped
GRID_STEPS = 50_000  # Figs. 5 and 9: their grid lines are 50,000, 100,000, ... steps
FIGURE_9_END_LABEL = 885  # Fig. 9: the epoch of its end marker by the printed x labels
FIGURE_5_THIRD_LABEL = 374  # Fig. 5: the epoch printed at its third grid line
WHOLE_EPOCH = 0.5  # how far a label that is a whole epoch may be off
ROUNDING = 1e-12  # what floating point may add to a difference
_BARS = [(name, depth, EPSILON[name]) for name in KEPT for depth in DEPTHS[name]]
_BARS += [("ImageNet", depth, epsilon) for depth, epsilon in IMAGENET]
_SVHN_BARS = [("SVHN", depth, EPSILON["SVHN"]) for depth in DEPTHS["SVHN"]]

Numbers = Sequence[Number]
Outcome = tuple[bool, str]  # whether it is consistent, and the computed numbers in words


@dataclass(frozen=True)
class Check:
    """One check. `computed`: the numbers it rests on, in words. `figures`: where they come from."""

    number: int
    title: str
    verdict: Literal["consistent", "inconsistent"]
    computed: str
    figures: tuple[str, ...]


class Definition(NamedTuple):
    """What a check asks, the figures it draws on, and its computation. An inconsistent one is wrong somewhere in them.

    `number`: which people read, as in `check 8`; `name`: by which code refers to it.
    """

    number: int
    name: str
    title: str
    figures: tuple[str, ...]
    compute: Callable[[Numbers], Outcome]


def checks(numbers: Numbers) -> list[Check]:
    """Every check of the published numbers.

    Raises UserError naming a number that is missing, or the check that has nothing to compare.
    """
    found = []
    for number, _, title, figures, compute in CHECKS:
        try:
            is_consistent, computed = compute(numbers)
        except ValueError as error:
            raise UserError(
                f"Check {number} ({title}) needs numbers of {', '.join(figures)} in published.csv: {error}; "
                "restore the file."
            ) from error
        found.append(Check(number, title, "consistent" if is_consistent else "inconsistent", computed, figures))
    return found


_defined: list[Definition] = []
Compute = TypeVar("Compute", bound=Callable[..., Outcome])


def _check(number: int, name: str, title: str, *figures: str, **options: Any) -> Callable[[Compute], Compute]:
    """Makes a check of a function; `options` are passed on to it."""

    def define(compute: Compute) -> Compute:
        _defined.append(Definition(number, name, title, figures, partial(compute, **options)))
        return compute

    return define


class Reading(NamedTuple):
    """A published or computed number and the limit of its error."""

    value: float
    uncertainty: float = 0


def _matching(paper: Numbers, **where: Any) -> list[Number]:
    """The numbers with these values. Raises UserError if there are none."""
    found = published.matching(paper, **where)
    if not found:
        raise UserError(f"published.csv has no row with {where}, which a check of the paper needs; restore the file.")
    return found


def _number(paper: Numbers, figure: str, dataset: str, depth: int, method: str, **where: Any) -> Reading:
    """The one number of a figure for this network; `where` names further columns, such as `metric`."""
    first = _matching(paper, figure=figure, dataset=dataset, depth=depth, method=method, **where)[0]
    return Reading(first.value, first.uncertainty)


def _gated(paper: Numbers, figure: str, dataset: str, depth: int, **where: Any) -> Reading:
    epsilon = where.pop("epsilon", EPSILON.get(dataset))
    return _number(paper, figure, dataset, depth, "epsilon_side", epsilon=epsilon, **where)


def _ratio(paper: Numbers, dataset: str, depth: int, epsilon: float | None = None) -> Reading:
    """Discarded share of Fig. 6e to h."""
    epsilon = epsilon or EPSILON[dataset]
    return _gated(paper, RATIOS[dataset], dataset, depth, metric="discarded_ratio", epsilon=epsilon)


def _text_ratio(paper: Numbers, depth: int, epsilon: float) -> Reading:
    """Discarded share that the text gives for ImageNet."""
    return _gated(paper, "text", "ImageNet", depth, epsilon=epsilon)


def _kept(paper: Numbers, dataset: str, depth: int) -> tuple[int, ...]:
    """Blocks kept per stage by Fig. 10, whose bars are whole numbers of blocks."""
    shares = [_gated(paper, KEPT[dataset], dataset, depth, group=group).value for group in (1, 2, 3)]
    return tuple(round(share * _blocks(depth)) for share in shares)


def _blocks(depth: int) -> int:
    """Blocks n per stage of a network of 6n+2 layers."""
    return (depth - 2) // 6


@cache
def _bytes(dataset: str, blocks: tuple[int, ...], side_after: tuple[int, int] | None = None) -> int:
    """Exact size of a network with these blocks per stage, 4 bytes a parameter."""
    family: Literal["cifar", "imagenet"] = "imagenet" if dataset == "ImageNet" else "cifar"
    kept = tuple(tuple(range(n)) for n in blocks)
    # Parameters do not depend on the images' size; a small one is quick.
    return 4 * size_of(Architecture(family, 3, CLASSES[dataset], kept, side_after), 32).parameters


def _whole_bytes(dataset: str, depth: int, with_side_head: bool = False) -> int:
    """The same for a whole network."""
    blocks = IMAGENET_BLOCKS[depth] if dataset == "ImageNet" else (_blocks(depth),) * 3
    return _bytes(dataset, blocks, SIDE_HEAD[depth] if with_side_head else None)


def _agree(pairs: Iterable[tuple[str, Reading, Reading]], of_shares: bool = False) -> Outcome:
    """Whether both numbers of each pair can be the same; the words name those that cannot, shares in per cent.

    Raises ValueError if there is no pair.
    """
    apart, largest, count = [], 0.0, 0
    for where, first, second in pairs:
        difference = abs(first.value - second.value)
        largest, count = max(largest, difference), count + 1
        if difference > first.uncertainty + second.uncertainty + ROUNDING:
            apart.append(f"{where} {_against(first, second, of_shares)}")
    if not count:
        raise ValueError("there is nothing to compare")
    if apart:
        return False, f"{len(apart)} of {count} differ: {'; '.join(apart)}"
    most = f"{100 * largest:.2g} points" if of_shares else f"{largest:.2g}"
    return True, f"all {count} agree, largest difference {most}"


def _against(first: Reading, second: Reading, of_shares: bool = True) -> str:
    return " against ".join(f"{number.value:{'.2%' if of_shares else '.4g'}}" for number in (first, second))


_shares_agree = partial(_agree, of_shares=True)


def _bars_follow(shares: Iterable[tuple[str, int, float, Reading]], paper: Numbers) -> Outcome:
    """Whether Fig. 7's bars are baseline × (1 - share), given data set, depth, epsilon and share of each."""
    pairs = []
    for name, depth, epsilon, share in shares:
        baseline = _whole_bytes(name, depth, with_side_head=name == "ImageNet") / MIB
        reading = Reading(baseline * (1 - share.value), baseline * share.uncertainty)
        bar = _gated(paper, SIZES[name], name, depth, epsilon=epsilon)
        pairs.append((f"{name} {depth} ε {epsilon:g}", bar, reading))
    return _agree(pairs)


@_check(
    1,
    "7-bars",
    "ε bars of Figures 7a, 7b and 7d are baseline × (1 − ratio of Figure 6)",
    "7a",
    "7b",
    "7d",
    "6e",
    "6f",
    "6h",
    points=_BARS,
)
@_check(26, "7c-bars", "ε bars of Figure 7c are baseline × (1 − ratio of 6g)", "7c", "6g", points=_SVHN_BARS)
def _bars_follow_the_ratio(paper: Numbers, points: Iterable[tuple[str, int, float]]) -> Outcome:
    return _bars_follow(((*point, _ratio(paper, *point)) for point in points), paper)


@_check(27, "7d-bars", "ε bars of Figure 7d are baseline × (1 − percentage of the text)", "7d", "text")
def _imagenet_bars_follow_the_text(paper: Numbers) -> Outcome:
    return _bars_follow((("ImageNet", d, e, _text_ratio(paper, d, e)) for d, e in IMAGENET), paper)


@_check(2, "7-networks", "ε bars of Figure 7 are the sizes of the networks of Figure 10", "7", "10")
def _bars_are_the_kept_networks(paper: Numbers) -> Outcome:
    same, words = _agree(
        (
            f"{name} {depth}",
            _gated(paper, SIZES[name], name, depth),
            Reading(_bytes(name, _kept(paper, name, depth)) / MIB),
        )
        for name in KEPT
        for depth in DEPTHS[name]
    )
    deepest = 1 - _bytes("CIFAR-10", _kept(paper, "CIFAR-10", 752)) / _whole_bytes("CIFAR-10", 752)
    ratio = _ratio(paper, "CIFAR-10", 752).value
    return same, f"{words}. The text's 80 % (CIFAR-10, 752): {ratio:.1%} of blocks, {deepest:.1%} of parameters"


def _baselines(
    paper: Numbers, name: str, unit: int = MIB, with_side_head: bool = False
) -> list[tuple[str, Reading, Reading]]:
    """Fig. 7's bars of unpruned networks, and exact sizes of them."""
    return [
        (
            f"{name} {depth}",
            _number(paper, SIZES[name], name, depth, "standard"),
            Reading(_whole_bytes(name, depth, with_side_head) / unit),
        )
        for depth in DEPTHS.get(name, tuple(SIDE_HEAD))
    ]


@_check(3, "7-megabytes", "Figure 7's CIFAR baselines are in MB", "7a", "7b")
def _baselines_are_megabytes(paper: Numbers) -> Outcome:
    same, words = _agree(pair for name in KEPT for pair in _baselines(paper, name, MEGABYTE))
    in_mib = _agree(pair for name in KEPT for pair in _baselines(paper, name))[1]
    return same, f"{words}. In MiB (2^20 bytes): {in_mib}"


@_check(4, "7d-plain", "Figure 7's ImageNet baselines are plain networks", "7d")
def _imagenet_baselines_are_plain(paper: Numbers) -> Outcome:
    same, words = _agree(_baselines(paper, "ImageNet"))
    with_side_head = _agree(_baselines(paper, "ImageNet", with_side_head=True))[1]
    return same, f"{words}. With the side head: {with_side_head}"


@_check(5, "7c-svhn", "Figure 7c shows SVHN networks", "7c", "7b")
def _figure_7c_is_svhn(paper: Numbers) -> Outcome:
    same, words = _agree(_baselines(paper, "SVHN"))
    shown = zip(DEPTHS["SVHN"], DEPTHS["CIFAR-100"], strict=False)
    repeated = _agree(
        (f"bar {i}", method(paper, "7c", "SVHN", ours), method(paper, "7b", "CIFAR-100", theirs))
        for i, (ours, theirs) in enumerate(shown, start=1)
        for method in (_gated, partial(_number, method="standard"))
    )
    return same, f"{words}. Against Figure 7b's bars at 110, 200 and 500: {repeated[1]}"


def _whole_numbers(points: Iterable[tuple[str, Reading, int]]) -> Outcome:
    """Whether each share is a whole number of parts, of which each point gives the count."""
    return _shares_agree((where, share, Reading(round(share.value * parts) / parts)) for where, share, parts in points)


@_check(6, "6-blocks", "ratios of Figures 6e to 6g are whole numbers of blocks", "6e", "6f", "6g")
def _ratios_count_blocks(paper: Numbers) -> Outcome:
    points = [
        (f"{name} {depth}", _ratio(paper, name, depth), 3 * _blocks(depth))
        for name in EPSILON
        for depth in DEPTHS[name]
    ]
    # Read to no better than half a block, any share would do.
    coarse = [where for where, share, blocks in points if share.uncertainty >= 0.5 / blocks]
    points = [point for point in points if point[0] not in coarse]
    same, words = _whole_numbers(points)
    other = _whole_numbers((where, share, blocks + 2) for where, share, blocks in points)
    left_out = f"; read too coarsely to tell: {', '.join(coarse)}" if coarse else ""
    return same, f"of 3n blocks: {words}{left_out}. Of 3n + 2, by which the reference code divides: {other[1]}"


@_check(7, "imagenet-blocks", "ImageNet ratios are whole numbers of blocks", "text")
def _imagenet_ratios_count_blocks(paper: Numbers) -> Outcome:
    shares = [(depth, epsilon, _text_ratio(paper, depth, epsilon)) for depth, epsilon in IMAGENET]
    same, words = _whole_numbers((f"{d} ε {e:g}", share, sum(IMAGENET_BLOCKS[d])) for d, e, share in shares)
    counts = ", ".join(
        f"{share.value * sum(IMAGENET_BLOCKS[d]):.2f} of {sum(IMAGENET_BLOCKS[d])}" for d, _, share in shares
    )
    return same, f"{words}. In blocks: {counts}"


@_check(8, "10a-6e", "Figure 10a discards as much as 6e", "10a", "6e", dataset="CIFAR-10")
@_check(9, "10b-6f", "Figure 10b discards as much as 6f", "10b", "6f", dataset="CIFAR-100")
def _kept_counts_match_the_ratio(paper: Numbers, dataset: str) -> Outcome:
    found = [(d, 3 * _blocks(d), sum(_kept(paper, dataset, d)), _ratio(paper, dataset, d)) for d in DEPTHS[dataset]]
    same, words = _shares_agree((f"depth {d}", Reading(1 - kept / blocks), ratio) for d, blocks, kept, ratio in found)
    counts = ", ".join(f"{blocks - kept} against {ratio.value * blocks:.1f}" for _, blocks, kept, ratio in found)
    return same, f"{words}. In blocks: {counts}"


@_check(10, "9-end", "Figure 9 ends at the ratios of 6e and 6f", "9", "6e", "6f")
def _figure_9_ends_at_figure_6(paper: Numbers) -> Outcome:
    return _shares_agree((name, _gated(paper, "9", name, 752, epoch=1000), _ratio(paper, name, 752)) for name in KEPT)


@_check(11, "9-labels", "Figure 9's printed x labels fit its end", "9")
def _figure_9_labels(paper: Numbers) -> Outcome:
    ends = [(name, max(n.epoch or 0 for n in _matching(paper, figure="9", dataset=name))) for name in KEPT]
    same, words = _agree(
        (f"{name} ends at epoch", Reading(end), Reading(FIGURE_9_END_LABEL, WHOLE_EPOCH)) for name, end in ends
    )
    last = max(end for _, end in ends) * EPOCH_STEPS
    return same, f"{words}. By the grid it ends after {last:,.0f} steps, {last / GRID_STEPS:g} lines of {GRID_STEPS:,}"


@_check(28, "5-labels", "Figure 5's third x label fits its grid", "5")
def _figure_5_labels(_: Numbers) -> Outcome:
    epochs = GRID_STEPS / EPOCH_STEPS
    line, label = Reading(3 * epochs, WHOLE_EPOCH), Reading(FIGURE_5_THIRD_LABEL, WHOLE_EPOCH)
    return _agree([(f"third grid line, 3 × {epochs:.0f} epochs:", line, label)])


@_check(12, "6h-text", "Figure 6h shows the ratios of the text", "6h", "text")
def _text_matches_figure_6h(paper: Numbers) -> Outcome:
    return _shares_agree(
        (f"{d} ε {e:g}", _ratio(paper, "ImageNet", d, e), _text_ratio(paper, d, e)) for d, e in IMAGENET
    )


def _figure_3(paper: Numbers, depth: int, source: str) -> Reading:
    return _number(paper, "3", "CIFAR-10", depth, "standard", source=source)


@_check(13, "3-text", "Figure 3 shows the errors of the text", "3", "text")
def _text_matches_figure_3(paper: Numbers) -> Outcome:
    return _shares_agree((f"{d}", _figure_3(paper, d, "text"), _figure_3(paper, d, "digitised")) for d in (200, 254))


@_check(14, "3-6a", "Figures 3 and 6a show the same networks", "3", "6a")
def _figure_3_matches_6a(paper: Numbers) -> Outcome:
    return _shares_agree(
        (f"{d}", _figure_3(paper, d, "digitised"), _number(paper, "6a", "CIFAR-10", d, "standard")) for d in (110, 200)
    )


@_check(15, "8a-6", "Figures 8a and 6 show the same errors", "8a", "6a", "6b")
def _figure_8_errors_match_6(paper: Numbers) -> Outcome:
    return _shares_agree((n, _gated(paper, "8a", n, 200), _gated(paper, ERRORS[n], n, 200)) for n in KEPT)


@_check(16, "8b-6", "Figures 8b and 6 show the same ratios", "8b", "6e", "6f")
def _figure_8_ratios_match_6(paper: Numbers) -> Outcome:
    return _shares_agree((n, _gated(paper, "8b", n, 200), _ratio(paper, n, 200)) for n in KEPT)


def _none_of(found: list[str], words: str) -> Outcome:
    """Consistent if nothing was found; else the words name it."""
    return not found, f"{words}: {'; '.join(found)}" if found else words


@_check(17, "no-loss", "ε-ResNet is no worse than standard", "6a", "6b", "6c", baseline="standard")
@_check(18, "no-loss-side", "ε-ResNet is no worse than standard+side", "6a", "6b", "6c", baseline="standard_side")
def _no_degradation(paper: Numbers, baseline: str) -> Outcome:
    """An order, not an equality: where the gated network's error is clearly the higher one."""
    worse = []
    for name, figure in ERRORS.items():
        for depth in DEPTHS[name]:
            gated, plain = _gated(paper, figure, name, depth), _number(paper, figure, name, depth, baseline)
            if gated.value - plain.value > gated.uncertainty + plain.uncertainty:
                worse.append(f"{name} {depth} {_against(gated, plain)}")
    count = sum(map(len, DEPTHS.values()))
    return _none_of(worse, f"{len(worse)} of {count} points are worse")


@_check(19, "near-output", "more blocks are discarded closer to the output", "10a", "10b")
def _more_near_the_output(paper: Numbers) -> Outcome:
    kept = {(name, depth): _kept(paper, name, depth) for name in KEPT for depth in DEPTHS[name]}
    falling = [
        f"{name} {depth} keeps {', '.join(map(str, k))}"
        for (name, depth), k in kept.items()
        if min(stage_rises(k, (_blocks(depth),) * 3)) < -ROUNDING
    ]
    return _none_of(falling, f"{len(falling)} of {len(kept)} networks discard a smaller share in a later stage")


@_check(20, "svhn-depth", "SVHN's networks have the depths of the text", "6g", "text")
def _svhn_depth(paper: Numbers) -> Outcome:
    depth = min(number.depth for number in _matching(paper, figure="6g"))
    same, words = _agree([("shallowest network:", Reading(depth), Reading(TEXT_SVHN_DEPTH))])
    blocks = 3 * _blocks(depth)
    counted = f"Its ratio is {_ratio(paper, 'SVHN', depth).value * blocks:.2f} of {blocks} blocks"
    return same, f"{words}. {counted}; no n gives 6n + 2 = {TEXT_SVHN_DEPTH}"


@_check(21, "9-epsilon", "the published code's late epsilon fits Figure 9", "9", "reference code")
def _code_holds_epsilon(paper: Numbers) -> Outcome:
    early = [number for number in _matching(paper, figure="9") if (number.epoch or 0) <= CODE_EPSILON_FROM]
    if not early:
        raise ValueError(f"there is no point up to epoch {CODE_EPSILON_FROM}")
    discarding = [number for number in early if number.value > number.uncertainty]
    words = f"{len(discarding)} of {len(early)} points up to epoch {CODE_EPSILON_FROM} show discarded blocks"
    if not discarding:
        return True, words
    first, at = min(number.epoch or 0 for number in discarding), max(number.value for number in discarding)
    return False, f"{words}, from epoch {first} on and up to {at:.1%}"


@_check(22, "baseline-epochs", "the published code trains baselines as long as the text", "README", "text")
def _code_trains_baselines(paper: Numbers) -> Outcome:
    def epochs(method: str) -> Reading:
        return Reading(_matching(paper, figure="README cifar10-val-error.png", method=method)[0].epoch or 0)

    return _agree((method, epochs(method), Reading(TEXT_STANDARD_EPOCHS)) for method in ("standard", "standard_side"))


@_check(23, "readme-6a", "the published code's errors are those of Figure 6a", "README", "6a")
def _readme_matches_6a(paper: Numbers) -> Outcome:
    def error(figure: str, method: str) -> Reading:
        return _number(paper, figure, "CIFAR-10", 110, method)

    methods = ("standard", "standard_side", "epsilon_side")
    return _shares_agree(
        (method, error("README cifar10-val-error.png", method), error("6a", method)) for method in methods
    )


@_check(24, "readme-6h", "the README's counts are among Figure 6h's", "README", "6h")
def _readme_matches_6h(paper: Numbers) -> Outcome:
    found = _matching(paper, figure="README comment", metric="discarded_ratio")
    drawn = _ratio(paper, "ImageNet", 101, 2.0)
    nearest = min((number.value for number in found), key=lambda value: abs(value - drawn.value))
    return _shares_agree([("nearest share of blocks", Reading(nearest), drawn)])


@_check(25, "1-10b", "Figures 1 and 10b show the same network", "1", "10b")
def _figure_1_matches_10b(paper: Numbers) -> Outcome:
    def kept(figure: str, group: int) -> Reading:
        return _gated(paper, figure, "CIFAR-100", 752, metric="kept_fraction", group=group)

    return _shares_agree((f"stage {group}", kept("1", group), kept("10b", group)) for group in (1, 2, 3))


CHECKS = sorted(_defined)
