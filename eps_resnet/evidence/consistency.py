"""The paper against itself: checks that use nothing but its published numbers and exact sizes of networks."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Literal, NamedTuple

import pandas as pd

from eps_resnet.evidence.claims.shares import stage_rises
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


@dataclass(frozen=True)
class Check:
    """One check. `computed`: the numbers it rests on, in words. `figures`: where they come from."""

    number: int
    title: str
    verdict: Literal["consistent", "inconsistent"]
    computed: str
    figures: tuple[str, ...]


def checks(table: pd.DataFrame) -> list[Check]:
    """Every check of the published numbers, a table as `published.read` returns it.

    Raises UserError naming a number that is missing, or the check that has nothing to compare.
    """
    found = []
    for number, (_, title, figures, check) in enumerate(CHECKS, start=1):
        try:
            is_consistent, computed = check(table)
        except ValueError as error:
            raise UserError(
                f"Check {number} ({title}) needs numbers of {', '.join(figures)} in published.csv: {error}; "
                "restore the file."
            ) from error
        found.append(Check(number, title, "consistent" if is_consistent else "inconsistent", computed, figures))
    return found


Outcome = tuple[bool, str]  # whether it is consistent, and the computed numbers in words


class Number(NamedTuple):
    """A published or computed number and the limit of its error."""

    value: float
    uncertainty: float = 0


def _rows(table: pd.DataFrame, **columns: Any) -> pd.DataFrame:
    """The rows with these values. Raises UserError if there are none."""
    rows = table
    for column, wanted in columns.items():
        rows = rows[rows[column] == wanted]
    if rows.empty:
        raise UserError(f"published.csv has no row with {columns}, which a check of the paper needs; restore the file.")
    return rows


def _number(table: pd.DataFrame, figure: str, dataset: str, depth: int, method: str, **where: Any) -> Number:
    """The one number of a figure for this network; `where` names further columns, such as `metric`."""
    rows = _rows(table, figure=figure, paper_name=dataset, depth=depth, method=method, **where)
    return Number(float(rows["value"].iloc[0]), float(rows["uncertainty"].iloc[0]))


def _gated(table: pd.DataFrame, figure: str, dataset: str, depth: int, **where: Any) -> Number:
    epsilon = where.pop("epsilon", EPSILON.get(dataset))
    return _number(table, figure, dataset, depth, "epsilon_side", epsilon=epsilon, **where)


def _ratio(table: pd.DataFrame, dataset: str, depth: int, epsilon: float | None = None) -> Number:
    """Discarded share of Fig. 6e to h."""
    epsilon = epsilon or EPSILON[dataset]
    return _gated(table, RATIOS[dataset], dataset, depth, metric="discarded_ratio", epsilon=epsilon)


def _text_ratio(table: pd.DataFrame, depth: int, epsilon: float) -> Number:
    """Discarded share that the text gives for ImageNet."""
    return _gated(table, "text", "ImageNet", depth, epsilon=epsilon)


def _kept(table: pd.DataFrame, dataset: str, depth: int) -> tuple[int, ...]:
    """Blocks kept per stage by Fig. 10, whose bars are whole numbers of blocks."""
    shares = [_gated(table, KEPT[dataset], dataset, depth, group=group).value for group in (1, 2, 3)]
    return tuple(round(share * _blocks(depth)) for share in shares)


def _kept_discards(table: pd.DataFrame, dataset: str, depth: int) -> Number:
    return Number(1 - sum(_kept(table, dataset, depth)) / (3 * _blocks(depth)))


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


def _agree(pairs: Iterable[tuple[str, Number, Number]], of_shares: bool = False) -> Outcome:
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


def _against(first: Number, second: Number, of_shares: bool = True) -> str:
    return " against ".join(f"{number.value:{'.2%' if of_shares else '.4g'}}" for number in (first, second))


_shares_agree = partial(_agree, of_shares=True)


def _bars_follow(shares: Iterable[tuple[str, int, float, Number]], table: pd.DataFrame) -> Outcome:
    """Whether Fig. 7's bars are baseline × (1 - share), given data set, depth, epsilon and share of each."""
    pairs = []
    for name, depth, epsilon, share in shares:
        baseline = _whole_bytes(name, depth, with_side_head=name == "ImageNet") / MIB
        reading = Number(baseline * (1 - share.value), baseline * share.uncertainty)
        bar = _gated(table, SIZES[name], name, depth, epsilon=epsilon)
        pairs.append((f"{name} {depth} ε {epsilon:g}", bar, reading))
    return _agree(pairs)


def _bars_follow_the_ratio(points: Iterable[tuple[str, int, float]], table: pd.DataFrame) -> Outcome:
    return _bars_follow(((*point, _ratio(table, *point)) for point in points), table)


def _imagenet_bars_follow_the_text(table: pd.DataFrame) -> Outcome:
    return _bars_follow((("ImageNet", d, e, _text_ratio(table, d, e)) for d, e in IMAGENET), table)


def _bars_are_the_kept_networks(table: pd.DataFrame) -> Outcome:
    same, words = _agree(
        (
            f"{name} {depth}",
            _gated(table, SIZES[name], name, depth),
            Number(_bytes(name, _kept(table, name, depth)) / MIB),
        )
        for name in KEPT
        for depth in DEPTHS[name]
    )
    deepest = 1 - _bytes("CIFAR-10", _kept(table, "CIFAR-10", 752)) / _whole_bytes("CIFAR-10", 752)
    ratio = _ratio(table, "CIFAR-10", 752).value
    return same, f"{words}. The text's 80 % (CIFAR-10, 752): {ratio:.1%} of blocks, {deepest:.1%} of parameters"


def _baselines(table: pd.DataFrame, name: str) -> list[tuple[str, int, Number]]:
    depths = DEPTHS.get(name, tuple(SIDE_HEAD))
    return [(f"{name} {depth}", depth, _number(table, SIZES[name], name, depth, "standard")) for depth in depths]


def _baselines_are_megabytes(table: pd.DataFrame) -> Outcome:
    bars = [(where, _whole_bytes(name, depth), bar) for name in KEPT for where, depth, bar in _baselines(table, name)]
    same, words = _agree((where, bar, Number(size / MEGABYTE)) for where, size, bar in bars)
    return same, f"{words}. In MiB (2^20 bytes): {_agree((where, bar, Number(b / MIB)) for where, b, bar in bars)[1]}"


def _imagenet_baselines_are_plain(table: pd.DataFrame) -> Outcome:
    bars = _baselines(table, "ImageNet")
    same, words = _agree((where, bar, Number(_whole_bytes("ImageNet", depth) / MIB)) for where, depth, bar in bars)
    with_side = _agree((w, bar, Number(_whole_bytes("ImageNet", depth, True) / MIB)) for w, depth, bar in bars)
    return same, f"{words}. With the side head: {with_side[1]}"


def _figure_7c_is_svhn(table: pd.DataFrame) -> Outcome:
    bars = _baselines(table, "SVHN")
    same, words = _agree((where, bar, Number(_whole_bytes("SVHN", depth) / MIB)) for where, depth, bar in bars)
    shown = zip(DEPTHS["SVHN"], DEPTHS["CIFAR-100"], strict=False)
    repeated = _agree(
        (f"bar {i}", method(table, "7c", "SVHN", ours), method(table, "7b", "CIFAR-100", theirs))
        for i, (ours, theirs) in enumerate(shown, start=1)
        for method in (_gated, partial(_number, method="standard"))
    )
    return same, f"{words}. Against Figure 7b's bars at 110, 200 and 500: {repeated[1]}"


def _whole_numbers(points: Iterable[tuple[str, Number, int]]) -> Outcome:
    """Whether each share is a whole number of parts, of which each point gives the count."""
    return _shares_agree((where, share, Number(round(share.value * parts) / parts)) for where, share, parts in points)


def _ratios_count_blocks(table: pd.DataFrame) -> Outcome:
    points = [
        (f"{name} {depth}", _ratio(table, name, depth), 3 * _blocks(depth))
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


def _imagenet_ratios_count_blocks(table: pd.DataFrame) -> Outcome:
    shares = [(depth, epsilon, _text_ratio(table, depth, epsilon)) for depth, epsilon in IMAGENET]
    same, words = _whole_numbers((f"{d} ε {e:g}", share, sum(IMAGENET_BLOCKS[d])) for d, e, share in shares)
    counts = ", ".join(
        f"{share.value * sum(IMAGENET_BLOCKS[d]):.2f} of {sum(IMAGENET_BLOCKS[d])}" for d, _, share in shares
    )
    return same, f"{words}. In blocks: {counts}"


def _kept_counts_match_the_ratio(name: str, table: pd.DataFrame) -> Outcome:
    same, words = _shares_agree(
        (f"depth {d}", _kept_discards(table, name, d), _ratio(table, name, d)) for d in DEPTHS[name]
    )
    counts = ", ".join(
        f"{3 * _blocks(d) - sum(_kept(table, name, d))} against {_ratio(table, name, d).value * 3 * _blocks(d):.1f}"
        for d in DEPTHS[name]
    )
    return same, f"{words}. In blocks: {counts}"


def _figure_9_ends_at_figure_6(table: pd.DataFrame) -> Outcome:
    return _shares_agree((name, _gated(table, "9", name, 752, epoch=1000), _ratio(table, name, 752)) for name in KEPT)


def _figure_9_labels(table: pd.DataFrame) -> Outcome:
    rows = _rows(table, figure="9")
    ends = [(str(name), float(curve["epoch"].max())) for name, curve in rows.groupby("paper_name")]
    same, words = _agree(
        (f"{name} ends at epoch", Number(end), Number(FIGURE_9_END_LABEL, WHOLE_EPOCH)) for name, end in ends
    )
    last = max(end for _, end in ends) * EPOCH_STEPS
    return same, f"{words}. By the grid it ends after {last:,.0f} steps, {last / GRID_STEPS:g} lines of {GRID_STEPS:,}"


def _figure_5_labels(_: pd.DataFrame) -> Outcome:
    epochs = GRID_STEPS / EPOCH_STEPS
    line, label = Number(3 * epochs, WHOLE_EPOCH), Number(FIGURE_5_THIRD_LABEL, WHOLE_EPOCH)
    return _agree([(f"third grid line, 3 × {epochs:.0f} epochs:", line, label)])


def _text_matches_figure_6h(table: pd.DataFrame) -> Outcome:
    return _shares_agree(
        (f"{d} ε {e:g}", _ratio(table, "ImageNet", d, e), _text_ratio(table, d, e)) for d, e in IMAGENET
    )


def _figure_3(table: pd.DataFrame, depth: int, source: str) -> Number:
    return _number(table, "3", "CIFAR-10", depth, "standard", source=source)


def _text_matches_figure_3(table: pd.DataFrame) -> Outcome:
    return _shares_agree((f"{d}", _figure_3(table, d, "text"), _figure_3(table, d, "digitised")) for d in (200, 254))


def _figure_3_matches_6a(table: pd.DataFrame) -> Outcome:
    return _shares_agree(
        (f"{d}", _figure_3(table, d, "digitised"), _number(table, "6a", "CIFAR-10", d, "standard")) for d in (110, 200)
    )


def _figure_8_errors_match_6(table: pd.DataFrame) -> Outcome:
    return _shares_agree((n, _gated(table, "8a", n, 200), _gated(table, ERRORS[n], n, 200)) for n in KEPT)


def _figure_8_ratios_match_6(table: pd.DataFrame) -> Outcome:
    return _shares_agree((n, _gated(table, "8b", n, 200), _ratio(table, n, 200)) for n in KEPT)


def _no_degradation(baseline: str, table: pd.DataFrame) -> Outcome:
    """An order, not an equality: where the gated network's error is clearly the higher one."""
    worse = []
    for name, figure in ERRORS.items():
        for depth in DEPTHS[name]:
            gated, plain = _gated(table, figure, name, depth), _number(table, figure, name, depth, baseline)
            if gated.value - plain.value > gated.uncertainty + plain.uncertainty:
                worse.append(f"{name} {depth} {_against(gated, plain)}")
    count = sum(map(len, DEPTHS.values()))
    words = f"{len(worse)} of {count} points are worse"
    return not worse, f"{words}: {'; '.join(worse)}" if worse else words


def _more_near_the_output(table: pd.DataFrame) -> Outcome:
    kept = {(name, depth): _kept(table, name, depth) for name in KEPT for depth in DEPTHS[name]}
    falling = [
        f"{name} {depth} keeps {', '.join(map(str, k))}"
        for (name, depth), k in kept.items()
        if min(stage_rises(k, (_blocks(depth),) * 3)) < -ROUNDING
    ]
    words = f"{len(falling)} of {len(kept)} networks discard a smaller share in a later stage"
    return not falling, f"{words}: {'; '.join(falling)}" if falling else words


def _svhn_depth(table: pd.DataFrame) -> Outcome:
    depth = int(_rows(table, figure="6g")["depth"].min())
    same, words = _agree([("shallowest network:", Number(depth), Number(TEXT_SVHN_DEPTH))])
    blocks = 3 * _blocks(depth)
    counted = f"Its ratio is {_ratio(table, 'SVHN', depth).value * blocks:.2f} of {blocks} blocks"
    return same, f"{words}. {counted}; no n gives 6n + 2 = {TEXT_SVHN_DEPTH}"


def _code_holds_epsilon(table: pd.DataFrame) -> Outcome:
    rows = _rows(table, figure="9")
    rows = rows[rows["epoch"] <= CODE_EPSILON_FROM]
    if rows.empty:
        raise ValueError(f"there is no point up to epoch {CODE_EPSILON_FROM}")
    early = rows[rows["value"] > rows["uncertainty"]]
    words = f"{len(early)} of {len(rows)} points up to epoch {CODE_EPSILON_FROM} show discarded blocks"
    if early.empty:
        return True, words
    first, at = early["epoch"].min(), early["value"].max()
    return False, f"{words}, from epoch {first:.0f} on and up to {at:.1%}"


def _code_trains_baselines(table: pd.DataFrame) -> Outcome:
    def epochs(method: str) -> Number:
        return Number(float(_rows(table, figure="README cifar10-val-error.png", method=method)["epoch"].iloc[0]))

    return _agree((method, epochs(method), Number(TEXT_STANDARD_EPOCHS)) for method in ("standard", "standard_side"))


def _readme_matches_6a(table: pd.DataFrame) -> Outcome:
    def error(figure: str, method: str) -> Number:
        return _number(table, figure, "CIFAR-10", 110, method)

    methods = ("standard", "standard_side", "epsilon_side")
    return _shares_agree(
        (method, error("README cifar10-val-error.png", method), error("6a", method)) for method in methods
    )


def _readme_matches_6h(table: pd.DataFrame) -> Outcome:
    rows = _rows(table, figure="README comment", metric="discarded_ratio")
    drawn = _ratio(table, "ImageNet", 101, 2.0)
    nearest = min(rows["value"], key=lambda value: abs(value - drawn.value))
    return _shares_agree([("nearest share of blocks", Number(float(nearest)), drawn)])


def _figure_1_matches_10b(table: pd.DataFrame) -> Outcome:
    def kept(figure: str, group: int) -> Number:
        return _gated(table, figure, "CIFAR-100", 752, metric="kept_fraction", group=group)

    return _shares_agree((f"stage {group}", kept("1", group), kept("10b", group)) for group in (1, 2, 3))


_BARS = [(name, depth, EPSILON[name]) for name in KEPT for depth in DEPTHS[name]]
_BARS += [("ImageNet", depth, epsilon) for depth, epsilon in IMAGENET]
_SVHN_BARS = [("SVHN", depth, EPSILON["SVHN"]) for depth in DEPTHS["SVHN"]]

# Name, what each check asks, the figures it draws on, and its computation. An inconsistent one is wrong somewhere in
# them.
CHECKS: tuple[tuple[str, str, tuple[str, ...], Callable[[pd.DataFrame], Outcome]], ...] = (
    (
        "7-bars",
        "ε bars of Figures 7a, 7b and 7d are baseline × (1 − ratio of Figure 6)",
        ("7a", "7b", "7d", "6e", "6f", "6h"),
        partial(_bars_follow_the_ratio, _BARS),
    ),
    (
        "7-networks",
        "ε bars of Figure 7 are the sizes of the networks of Figure 10",
        ("7", "10"),
        _bars_are_the_kept_networks,
    ),
    ("7-megabytes", "Figure 7's CIFAR baselines are in MB", ("7a", "7b"), _baselines_are_megabytes),
    ("7d-plain", "Figure 7's ImageNet baselines are plain networks", ("7d",), _imagenet_baselines_are_plain),
    ("7c-svhn", "Figure 7c shows SVHN networks", ("7c", "7b"), _figure_7c_is_svhn),
    ("6-blocks", "ratios of Figures 6e to 6g are whole numbers of blocks", ("6e", "6f", "6g"), _ratios_count_blocks),
    ("imagenet-blocks", "ImageNet ratios are whole numbers of blocks", ("text",), _imagenet_ratios_count_blocks),
    ("10a-6e", "Figure 10a discards as much as 6e", ("10a", "6e"), partial(_kept_counts_match_the_ratio, "CIFAR-10")),
    ("10b-6f", "Figure 10b discards as much as 6f", ("10b", "6f"), partial(_kept_counts_match_the_ratio, "CIFAR-100")),
    ("9-end", "Figure 9 ends at the ratios of 6e and 6f", ("9", "6e", "6f"), _figure_9_ends_at_figure_6),
    ("9-labels", "Figure 9's printed x labels fit its end", ("9",), _figure_9_labels),
    ("6h-text", "Figure 6h shows the ratios of the text", ("6h", "text"), _text_matches_figure_6h),
    ("3-text", "Figure 3 shows the errors of the text", ("3", "text"), _text_matches_figure_3),
    ("3-6a", "Figures 3 and 6a show the same networks", ("3", "6a"), _figure_3_matches_6a),
    ("8a-6", "Figures 8a and 6 show the same errors", ("8a", "6a", "6b"), _figure_8_errors_match_6),
    ("8b-6", "Figures 8b and 6 show the same ratios", ("8b", "6e", "6f"), _figure_8_ratios_match_6),
    ("no-loss", "ε-ResNet is no worse than standard", ("6a", "6b", "6c"), partial(_no_degradation, "standard")),
    (
        "no-loss-side",
        "ε-ResNet is no worse than standard+side",
        ("6a", "6b", "6c"),
        partial(_no_degradation, "standard_side"),
    ),
    ("near-output", "more blocks are discarded closer to the output", ("10a", "10b"), _more_near_the_output),
    ("svhn-depth", "SVHN's networks have the depths of the text", ("6g", "text"), _svhn_depth),
    ("9-epsilon", "the published code's late epsilon fits Figure 9", ("9", "reference code"), _code_holds_epsilon),
    (
        "baseline-epochs",
        "the published code trains baselines as long as the text",
        ("README", "text"),
        _code_trains_baselines,
    ),
    ("readme-6a", "the published code's errors are those of Figure 6a", ("README", "6a"), _readme_matches_6a),
    ("readme-6h", "the README's counts are among Figure 6h's", ("README", "6h"), _readme_matches_6h),
    ("1-10b", "Figures 1 and 10b show the same network", ("1", "10b"), _figure_1_matches_10b),
    (
        "7c-bars",
        "ε bars of Figure 7c are baseline × (1 − ratio of 6g)",
        ("7c", "6g"),
        partial(_bars_follow_the_ratio, _SVHN_BARS),
    ),
    (
        "7d-bars",
        "ε bars of Figure 7d are baseline × (1 − percentage of the text)",
        ("7d", "text"),
        _imagenet_bars_follow_the_text,
    ),
    ("5-labels", "Figure 5's third x label fits its grid", ("5",), _figure_5_labels),
)
