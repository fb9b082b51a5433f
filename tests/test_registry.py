"""The registry: every experiment of the paper is in it, and mistakes are named with key, value and allowed range."""

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from eps_resnet import registry
from eps_resnet.errors import UserError
from eps_resnet.registry import METHODS, Registry, Run, json_schema

CIFAR_DEPTHS = (110, 200, 500, 752)
FIGURE_3_DEPTHS = (110, 146, 164, 182, 200, 218, 236, 254, 272, 290)


def paper_runs() -> set[tuple[str, int, str, float | None]]:
    """Every run of the paper, written out once more from its figures."""
    runs: set[tuple[str, int, str, float | None]] = set()
    for name, depths, epsilon in (
        ("cifar10", CIFAR_DEPTHS, 2.5),
        ("cifar100", CIFAR_DEPTHS, 2.5),
        ("svhn", (110, 200, 302), 1.5),
    ):
        runs |= {(name, d, m, epsilon if m == "epsilon_side" else None) for d in depths for m in METHODS}
    runs |= {("cifar10", depth, "standard", None) for depth in FIGURE_3_DEPTHS}
    runs |= {(name, 200, "epsilon_side", e) for name in ("cifar10", "cifar100") for e in (2.3, 2.7)}
    runs |= {("imagenet", d, "epsilon_side", e) for d, e in ((101, 2.0), (101, 2.1), (152, 1.8))}
    return runs | {("imagenet", d, "standard", None) for d in (101, 152)}


def test_every_run_of_the_paper_is_in_it(experiments: Registry) -> None:
    listed = {(r.dataset, r.depth, r.method, r.epsilon) for r in experiments.runs.values() if r.dataset != "digits"}
    assert listed == paper_runs()


def test_every_figure_of_the_paper_with_numbers_is_in_it(experiments: Registry) -> None:
    listed = {(figure.figure, figure.dataset) for figure in experiments.figures.values()}
    everywhere = {(f, d) for f in "67" for d in ("digits", "cifar10", "cifar100", "svhn", "imagenet")}
    both = {(f, d) for f in ("8", "9", "10") for d in ("cifar10", "cifar100")}
    assert listed >= everywhere | both | {("1", "cifar100"), ("3", "cifar10"), ("5", "cifar10"), ("8", "digits")}


def test_keys_are_readable_lower_case_and_hold_no_dot(experiments: Registry) -> None:
    assert "cifar10-110-epsilon_side-2p5-s0" in experiments.runs
    assert "cifar10-110-standard-s0" in experiments.runs
    for key in experiments.runs:
        assert key == key.lower()
        assert "." not in key


@given(st.floats(0.001, 10), st.integers(0, 99), st.integers(1, 200))
def test_keys_differ_where_runs_differ(epsilon: float, seed: int, n: int) -> None:
    run = Run(dataset="cifar10", depth=6 * n + 2, method="epsilon_side", epsilon=round(epsilon, 4), seed=seed)
    other = run.model_copy(update={"epsilon": round(epsilon, 4) + 0.001})
    assert run.key != other.key
    assert "." not in run.key


def changed(tmp_path: Path, *path: str, value: Any) -> Path:
    document: Any = yaml.safe_load(Path("config/experiments.yaml").read_text())
    target = document
    for part in path[:-1]:
        target = target[part]
    target[path[-1]] = value
    file = tmp_path / "experiments.yaml"
    file.write_text(yaml.safe_dump(document))
    return file


RUN = ("runs", "cifar10-110-epsilon_side-2p5-s0")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ((*RUN, "depth"), 111, r"runs\.cifar10-110-epsilon_side-2p5-s0\.depth: must be 6n\+2 .* found 111"),
        ((*RUN, "epsilon"), -2.5, r"2p5-s0\.epsilon: Input should be greater than 0, found -2\.5"),
        ((*RUN, "epsilon"), None, "epsilon is missing"),
        ((*RUN, "method"), "gated", r"method: Input should be 'standard', .* found 'gated'"),
        ((*RUN, "dataset"), "cifar", r"dataset: 'cifar' is not one of \['cifar10'"),
        ((*RUN, "seed"), 1, "is called 'cifar10-110-epsilon_side-2p5-s1'"),
        (("figures", "figure8-cifar10", "select", "any_epsilon"), 3, r"any_epsilon: Input should be a valid boolean"),
        ((*RUN, "sede"), 1, "sede: this key is not known, found 1"),
        (("datasets", "cifar10", "recipe", "momentum"), 1.5, "momentum: Input should be less than 1, found 1.5"),
        (("datasets", "cifar10", "recipe", "rate_steps"), [123, 82], r"must increase .* found \[123, 82\]"),
        (("datasets", "cifar10", "recipe", "rate"), float("nan"), "rate: .*found nan"),
        (("datasets", "cifar10", "archives", 0, "sha256"), "abc", "sha256: .* found 'abc'"),
        ((*RUN, "weight_decay"), 0.0002, r"weight_decay: 0\.0002 is the recipe's own, so this would be one seed twice"),
        (("datasets", "cifar10", "published_name"), "MNIST", "published_name: .*'ImageNet', found 'MNIST'"),
        (("datasets", "svhn", "published_name"), "CIFAR-10", "svhn.published_name: 'CIFAR-10' is already that of"),
        (("runs", "imagenet-101-standard-s0", "depth"), 50, "must be one of 14, 101, 152, found 50"),
        (("figures", "figure8-cifar10", "select", "depths"), [8], r"figures\.figure8-cifar10\.select: no run matches"),
    ],
)
def test_a_mistake_is_named_with_its_key_its_value_and_what_is_allowed(
    tmp_path: Path, path: tuple[Any, ...], value: object, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        registry.load(changed(tmp_path, *path, value=value))


def test_names_of_data_sets_hold_no_dot_and_no_capital(tmp_path: Path) -> None:
    document = yaml.safe_load(Path("config/experiments.yaml").read_text())
    document["datasets"]["My.Set"] = document["datasets"]["digits"]
    file = tmp_path / "experiments.yaml"
    file.write_text(yaml.safe_dump(document))
    with pytest.raises(UserError, match=r"My\.Set"):
        registry.load(file)


def test_an_epsilon_is_one_line_for_the_figure_that_compares_them(tmp_path: Path, experiments: Registry) -> None:
    document = yaml.safe_load(Path("config/experiments.yaml").read_text())
    run = {"dataset": "digits", "depth": 56, "method": "epsilon_side", "epsilon": 3.0, "seed": 0}
    document["runs"]["digits-56-epsilon_side-3p0-s0"] = run
    (tmp_path / "experiments.yaml").write_text(yaml.safe_dump(document))
    with_it = registry.load(tmp_path / "experiments.yaml")
    assert len(with_it.runs_of("figure8-digits")) == len(experiments.runs_of("figure8-digits")) + 1
    assert with_it.runs_of("figure6-digits") == experiments.runs_of("figure6-digits")


def test_an_unknown_run_is_answered_with_the_nearest_ones(experiments: Registry) -> None:
    with pytest.raises(UserError, match=r"did you mean .*cifar10-110-epsilon_side-2p5-s0"):
        experiments.run("cifar10-110-epsilon-2p5-s0")


def test_the_schema_accepts_the_registry_and_rejects_an_unknown_key(tmp_path: Path) -> None:
    document = yaml.safe_load(Path("config/experiments.yaml").read_text())
    jsonschema.validate(document, json_schema())
    document["runs"]["cifar10-110-standard-s0"]["sede"] = 1
    with pytest.raises(jsonschema.ValidationError, match="sede"):
        jsonschema.validate(document, json_schema())


def test_every_key_of_the_recipe_is_described() -> None:
    recipe = json_schema()["$defs"]["Recipe"]["properties"]
    nested = {"epochs", "augmentation"}  # described key by key in their own definitions
    assert [name for name, field in recipe.items() if "description" not in field and name not in nested] == []


def test_the_recipes_have_the_papers_epsilons_and_lengths(experiments: Registry) -> None:
    recipes = {name: data.recipe for name, data in experiments.datasets.items()}
    lengths = {name: (recipe.epochs.standard, recipe.epochs.epsilon) for name, recipe in recipes.items()}
    assert lengths["cifar10"] == lengths["cifar100"] == (200, 1000)
    assert lengths["svhn"] == (80, 150)
    assert lengths["imagenet"] == (110, 110)
    assert recipes["imagenet"].epoch_steps == 5000
    epsilons = {name: recipe.epsilons for name, recipe in recipes.items() if name != "digits"}
    assert epsilons == {"cifar10": (2.5,), "cifar100": (2.5,), "svhn": (1.5,), "imagenet": (1.8, 2.0, 2.1)}
    assert recipes["cifar10"].rate_steps == (82, 123)
    assert recipes["svhn"].rate_steps == (20, 28, 50)
    assert recipes["imagenet"].rate_steps == (30, 60, 85, 95)
