"""The checks of the paper against itself: each computed from the numbers, so that other numbers change it."""

from collections.abc import Callable

import pytest

from eps_resnet.evidence import consistency, published
from eps_resnet.evidence.consistency import CHECKS, Check, checks
from eps_resnet.evidence.published import Number
from eps_resnet.files.errors import UserError

CONSISTENT = {1, 6, 16, 17, 25, 27}


Change = Callable[[list[Number]], None]


@pytest.fixture
def numbers() -> list[Number]:
    return published.numbers()


def set_values(figure: str, values: dict[tuple[str, int], float], **where: object) -> Change:
    """Changes a figure's numbers, by data set and depth."""

    def change(numbers: list[Number]) -> None:
        for (name, depth), value in values.items():
            found = published.matching(numbers, figure=figure, dataset=name, depth=depth, **where)
            assert found
            set_all(numbers, found, value=value)

    return change


def set_all(numbers: list[Number], found: list[Number], **values: object) -> None:
    """Gives these of the numbers other values."""
    numbers[:] = [number.model_copy(update=values) if number in found else number for number in numbers]


def all_of(*changes: Change) -> Change:
    def change(numbers: list[Number]) -> None:
        for one in changes:
            one(numbers)

    return change


def set_column(figure: str, column: str, value: object) -> Change:
    return lambda numbers: set_all(numbers, published.matching(numbers, figure=figure), **{column: value})


C10, C100 = "CIFAR-10", "CIFAR-100"
GATED, STANDARD, SIDE = {"method": "epsilon_side"}, {"method": "standard"}, {"method": "standard_side"}
KEPT_MIB = {  # sizes of the networks that Figure 10 keeps, in MiB, where the bars differ
    **{(C10, d): v for d, v in {110: 3.63, 200: 3.56, 500: 3.77, 752: 3.81}.items()},
    **{(C100, d): v for d, v in {500: 10.70, 752: 11.23}.items()},
}
# Numbers with which each check comes out the other way.
CORRECTED = {
    1: set_values("7a", {(C10, 752): 3.8}, **GATED),
    2: all_of(
        set_values("7a", {k: v for k, v in KEPT_MIB.items() if k[0] == C10}, **GATED),
        set_values("7b", {k: v for k, v in KEPT_MIB.items() if k[0] == C100}, **GATED),
    ),
    3: all_of(
        set_values("7a", {(C10, 110): 6.91, (C10, 200): 12.74, (C10, 500): 32.19, (C10, 752): 48.52}, **STANDARD),
        set_values("7b", {(C100, 110): 6.94, (C100, 200): 12.77, (C100, 500): 32.21, (C100, 752): 48.54}, **STANDARD),
    ),
    4: set_values("7d", {("ImageNet", 101): 169.9, ("ImageNet", 152): 229.6}, **STANDARD),
    5: set_values("7c", {("SVHN", 302): 18.46}, **STANDARD),
    6: set_values("6e", {(C10, 110): 0.23}),
    7: all_of(
        set_values("text", {("ImageNet", 101): 7 / 33}),
        set_values("text", {("ImageNet", 152): 18 / 50}),
    ),
    8: set_values("10a", {(C10, 200): 28 / 33}, group=1),
    9: all_of(
        set_values("10b", {(C100, 500): 50 / 83, (C100, 752): 56 / 125}, group=1),
        set_values("10b", {(C100, 752): 35 / 125}, group=2),
    ),
    10: set_values("9", {(C100, 752): 0.683}, epoch=1000),
    11: set_column("9", "epoch", 885),
    12: set_values("6h", {("ImageNet", 101): 0.256}, epsilon=2.1),
    13: set_values("3", {(C10, 200): 0.0567, (C10, 254): 0.0601}, source="text"),
    14: set_values("6a", {(C10, 110): 0.0594, (C10, 200): 0.0567}, **STANDARD),
    15: all_of(
        set_values("8a", {(C10, 200): 0.0546}, epsilon=2.5),
        set_values("8a", {(C100, 200): 0.2421}, epsilon=2.5),
    ),
    16: set_values("8b", {(C10, 200): 0.5}, epsilon=2.5),
    17: set_values("6a", {(C10, 500): 0.06}, **GATED),
    18: all_of(
        set_values("6a", {(C10, 752): 0.0523}, **SIDE),
        set_values("6c", {("SVHN", 302): 0.016}, **SIDE),
    ),
    19: set_values("10b", {(C100, 200): 23 / 33}, group=3),
    20: set_column("6g", "depth", 100),
    21: set_column("9", "value", 0.0),
    22: set_column("README cifar10-val-error.png", "epoch", 200),
    23: set_values("README cifar10-val-error.png", {(C10, 110): 0.0584}, **SIDE),
    24: set_values("6h", {("ImageNet", 101): 6 / 33}, epsilon=2.0),
    25: set_values("1", {(C100, 752): 0.9}, group=1),
    26: set_values("7c", {("SVHN", 110): 5.62, ("SVHN", 200): 8.72, ("SVHN", 302): 9.72}, **GATED),
    27: set_values("7d", {("ImageNet", 101): 128.0}, epsilon=2.1),
}


def by_number(numbers: list[Number]) -> dict[int, Check]:
    return {check.number: check for check in checks(numbers)}


def test_the_paper_is_inconsistent_where_its_numbers_say_so(numbers: list[Number]) -> None:
    found = by_number(numbers)
    assert {number for number, check in found.items() if check.verdict == "consistent"} == CONSISTENT
    assert "CIFAR-10 752 7.935 against 3.809" in found[2].computed
    assert "83.0% of blocks, 91.8% of parameters" in found[2].computed
    assert "In MiB (2^20 bytes): all 8 agree" in found[3].computed
    assert "With the side head: all 2 agree" in found[4].computed
    assert "SVHN 302 30.73 against 18.46" in found[5].computed
    assert "Figure 7b's bars at 110, 200 and 500: all 6 agree" in found[5].computed
    assert "of 3n blocks: all 9 agree" in found[6].computed
    assert "read too coarsely to tell: CIFAR-10 752, CIFAR-100 752" in found[6].computed
    assert "4 of 9 differ" in found[6].computed  # of 3n + 2
    assert "6.64 of 33" in found[7].computed
    assert "58 against 48.0" in found[8].computed
    assert "1000 against 885" in found[11].computed
    assert "390,000 steps, 7.8 lines of 50,000" in found[11].computed
    assert "CIFAR-100 200 keeps 32, 23, 29" in found[19].computed
    assert "SVHN 110 ε 1.5 6.591 against 5.615; SVHN 200 ε 1.5 10.36 against 8.717" in found[26].computed
    assert "13.1 against 9.727" in found[26].computed
    assert "3 × 128 epochs: 384.6 against 374" in found[28].computed


def test_every_check_is_corrected_once() -> None:
    assert {*CORRECTED, 28} == set(range(1, len(CHECKS) + 1))


@pytest.mark.parametrize(("label", "fits"), [(374, False), (383, False), (384, True), (385, True)])
def test_figure_5s_third_label_must_be_three_times_128_epochs(
    numbers: list[Number], monkeypatch: pytest.MonkeyPatch, label: int, fits: bool
) -> None:
    monkeypatch.setattr(consistency, "FIGURE_5_THIRD_LABEL", label)
    assert CHECKS[28 - 1].compute(numbers)[0] == fits


@pytest.mark.parametrize("number", CORRECTED)
def test_a_check_comes_out_the_other_way_with_other_numbers(numbers: list[Number], number: int) -> None:
    CORRECTED[number](numbers)
    is_consistent, computed = CHECKS[number - 1].compute(numbers)
    assert is_consistent == (number not in CONSISTENT), computed


@pytest.mark.parametrize(
    "figure", ["3", "6e", "6g", "7c", "7d", "9", "10a", "text", "README comment", "README cifar10-val-error.png"]
)
def test_a_missing_number_is_named(numbers: list[Number], figure: str) -> None:
    with pytest.raises(UserError, match=rf"'figure': '{figure}'.*restore the file"):
        checks([number for number in numbers if number.figure != figure])


@pytest.mark.parametrize("number", [11, 20, 21, 22, 24])
def test_a_check_of_no_rows_is_no_agreement(numbers: list[Number], number: int) -> None:
    with pytest.raises(UserError, match="no row with"):
        CHECKS[number - 1].compute([])


def test_a_check_with_nothing_to_compare_is_named(numbers: list[Number]) -> None:
    late = [number for number in numbers if number.figure != "9" or (number.epoch or 0) > 150]
    with pytest.raises(UserError, match=r"Check 21 .* needs numbers of 9.*no point up to epoch 150; restore the file"):
        checks(late)
    set_all(numbers, [number for number in numbers if number.figure in ("6e", "6f", "6g")], uncertainty=0.1)
    with pytest.raises(UserError, match=r"Check 6 .* needs numbers of 6e, 6f, 6g .*nothing to compare"):
        checks(numbers)
