"""The registry: every experiment of the paper is in it, and mistakes are named with key, value and allowed range."""

import re
from collections.abc import Iterator
from copy import deepcopy
from datetime import date
from functools import cache, reduce
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from eps_resnet.experiments import registry
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.models import METHODS, RESERVED, Recipe, Run
from eps_resnet.experiments.registry import Registry, json_schema
from eps_resnet.files.errors import UserError
from eps_resnet.provenance.fingerprints import training_parts

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
    of_paper = [run for run in experiments.runs.values() if experiments.datasets[run.dataset].is_papers]
    listed = {(run.dataset, run.depth, run.method, run.epsilon) for run in of_paper}
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
SMALL_RUN = ("runs", "digits-8-standard-s0")
DIGITS = ("datasets", "digits")
LONG = ("datasets", "cifar10-cpu", "variants", "long")
RECIPE, ARCHIVE = (*DIGITS, "recipe"), (*DIGITS, "archives", 0)


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
        (("datasets", "digits", "reduced"), {"size": "small"}, "reduced: needs the published_name of the data set"),
        (("datasets", "cifar10-cpu", "reduced"), {}, "'CIFAR-10' is already that of .* a smaller version of it needs"),
        (("runs", "imagenet-101-standard-s0", "depth"), 50, "must be one of 14, 101, 152, found 50"),
        (("figures", "figure8-cifar10", "select", "depths"), [8], r"figures\.figure8-cifar10\.select: no run matches"),
        ((*RUN, "variant"), "longer", r"variant: 'longer' is not one of \[\]"),
        ((*LONG, "recipe"), {"weight_decay": -1}, r"variants\.long\.recipe: weight_decay: .*greater than or equal"),
        ((*LONG, "recipe"), {"epohs": 3}, r"variants\.long\.recipe: epohs: Extra inputs are not permitted"),
        ((*LONG, "recipe"), {"batch": 128}, r"variants\.long\.recipe: changes nothing of the recipe"),
        (("datasets", "imagenet", "depths", "152"), {"slices": 5}, r"depths\.152: recipe: slices must divide"),
    ],
)
def test_a_mistake_is_named_with_its_key_its_value_and_what_is_allowed(
    tmp_path: Path, path: tuple[Any, ...], value: object, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        registry.load(changed(tmp_path, *path, value=value))


@pytest.mark.parametrize("name", RESERVED)
def test_no_data_set_is_called_as_something_else_of_snakemakes_command_line(tmp_path: Path, name: str) -> None:
    document = yaml.safe_load(Path("config/experiments.yaml").read_text())
    document["datasets"][name] = document["datasets"]["digits"]
    (tmp_path / "experiments.yaml").write_text(yaml.safe_dump(document))
    with pytest.raises(UserError, match=f"command line '{name}' means something else"):
        registry.load(tmp_path / "experiments.yaml")


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
    epsilons = {name: data.recipe.epsilons for name, data in experiments.datasets.items() if data.is_papers}
    assert epsilons == {"cifar10": (2.5,), "cifar100": (2.5,), "svhn": (1.5,), "imagenet": (1.8, 2.0, 2.1)}
    assert recipes["cifar10"].rate_steps == (82, 123)
    assert recipes["svhn"].rate_steps == (20, 28, 50)
    assert recipes["imagenet"].rate_steps == (30, 60, 85, 95)


def test_a_runs_recipe_has_what_its_depth_its_variant_and_its_own_decay_change(experiments: Registry) -> None:
    def recipe(**run: Any) -> Recipe:
        own = Run.model_validate({"method": "standard", **run})
        return experiments.datasets[own.dataset].recipe_of(own)

    assert [
        (recipe(dataset="imagenet", depth=d).batch, recipe(dataset="imagenet", depth=d).slices) for d in (101, 152)
    ] == [
        (256, 4),  # run_imagenet.sh: 4 GPUs with 64 images each
        (252, 6),  # 6 GPUs with 42 each
    ]
    short, long = (recipe(dataset="cifar10-cpu", depth=20, variant=name, weight_decay=0.001) for name in (None, "long"))
    assert (short.epochs.standard, long.epochs.standard) == (30, 150)
    assert short.weight_decay == long.weight_decay == 0.001
    assert (short.rate_steps_of("standard"), long.rate_steps_of("standard")) == ((20, 26), (126, 132))
    assert short.rate_steps_of("epsilon_side") == (24, 36)


def test_a_variant_is_part_of_a_runs_name_and_of_its_fingerprint_and_without_one_nothing_of_either(
    experiments: Registry,
) -> None:
    run = experiments.runs["cifar10-cpu-56-standard-wd0p001-long-s0"]
    assert run.key == "cifar10-cpu-56-standard-wd0p001-long-s0"
    plain = experiments.experiment("cifar10-cpu-56-standard-wd0p001-s0", Layout())
    assert "variant" not in training_parts(plain)["run"]
    assert training_parts(experiments.experiment(run.key, Layout()))["run"]["variant"] == "long"


@cache
def _small_document() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(Path("config/experiments.yaml").read_text())
    common = {"dataset": "digits", "depth": 8, "seed": 0}
    official, copy = document["datasets"]["cifar10"]["archives"]
    digits = {**document["datasets"]["digits"], "archives": [official, {**copy, "files": official["files"]}]}
    runs = {
        "digits-8-standard-s0": {**common, "method": "standard"},
        "digits-8-standard_side-s0": {**common, "method": "standard_side"},
        "digits-8-epsilon_side-2p5-s0": {**common, "method": "epsilon_side", "epsilon": 2.5},
    }
    select = {"depths": [8], "methods": ["standard", "epsilon_side"]}
    figure = {"figure": "6", "dataset": "digits", "select": select}
    return {"datasets": {"digits": digits}, "runs": runs, "figures": {"figure6-digits": figure}}


def small_document() -> dict[str, Any]:
    """A registry of one data set, three runs and one figure, in which a part stands twice; a copy to change."""
    return deepcopy(_small_document())


def dumped(document: Any) -> bytes:
    """The document as YAML, with anchors where a part stands twice."""
    return yaml.safe_dump(document, sort_keys=False).encode("utf-8", "surrogatepass")


def nested(levels: int) -> Any:
    """Lists in lists."""
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


ODD_TEXTS = (
    *("", " ", "a\n", "a\nb", "../x", "/etc/passwd", "-x", "--help", ".", "..", "a b", "a'b", 'a"b', "a\\b"),
    *("$(touch pwned)", "`touch pwned`", "; touch pwned", "{run}", "%s", "<script>", "javascript:alert(1)", "[x](y)"),
    *("\x1b[31m", "\x07", "\x00", "\u202e", "\ud800", "\ufeff", "\U0010ffff", "ε", "x" * 5000, "1e-4", "yes", "null"),
    *("2018-01-01", "2018-99-99", "0b_", "<<", "=", "*a", "&a", "!!int", "root", "Infinity", "file:///etc/passwd"),
)
ODD_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 10**40, -(10**4000), 8.0, -0.0, 5e-324, 1e308, 1e-12),
    *(float("nan"), float("inf"), float("-inf"), date(2018, 1, 1), b"\xff", [], {}, {"a": 1}, nested(30), nested(150)),
)
ODD_BYTES = (
    *(
        b"&a ",
        b"*a ",
        b"&cifar ",
        b"*id001 ",
        b"<<: *id001\n",
        b"? ",
        b": ",
        b"- " * 40,
        b"[" * 40,
        b"{" * 40,
        b"]",
        b"}",
    ),
    *(b"'", b'"', b"|\n", b">\n", b"#", b"%", b"%YAML 1." + b"9" * 5000 + b"\n---\n", b"---\n", b"...\n", b"\t", b"\r"),
    *(b"\x00", b"\xff", b"\xef\xbb\xbf", b"\xff\xfe", b"\xed\xa0\x80", b"\x1b[31m", b"\xc2\x85", b"\xe2\x80\xa8", b"@"),
    *(b"!!python/name:os.system ", b"!!int ", b"!!float ", b"!!bool ", b"!!set ", b"!!omap ", b"!!binary ", b"!!str "),
    *(
        b"!!timestamp ",
        b"!x ",
        b"!<%FF> ",
        b'"\\UFFFFFFFF"',
        b'"\\ud800"',
        b'"\\e[31m"',
        b"0b_",
        b"0x_",
        b".nan",
        b"-.inf",
    ),
    *(b"1:" * 3000 + b"1", b"9" * 5000, b"0x" + b"f" * 5000, b"2018-99-99", b"=", b"<<", b"~", b"x" * 3000, b"\n" * 50),
)
odd = st.one_of(
    st.sampled_from(ODD_TEXTS), st.sampled_from(ODD_VALUES), st.text(max_size=8), st.integers(), st.floats()
)


@st.composite
def damaged_texts(draw: st.DrawFn) -> bytes:
    """The small registry's YAML with some bytes deleted, overwritten, inserted or repeated."""
    content = dumped(small_document())
    for _ in range(draw(st.integers(1, 3))):
        start, length = draw(st.integers(0, len(content))), draw(st.integers(0, 60))
        part = content[start : start + length]
        other = draw(st.one_of(st.just(b""), st.just(2 * part), st.sampled_from(ODD_BYTES), st.binary(max_size=6)))
        content = content[:start] + other + content[start + length * draw(st.booleans()) :]
    return content


@st.composite
def damaged_documents(draw: st.DrawFn) -> bytes:
    """The small registry with some values, keys or parts replaced, deleted, or aliases of others."""
    document = small_document()
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(document))
        container, key = draw(st.sampled_from(places))
        change = draw(st.sampled_from(("replace", "replace", "rename", "delete", "alias", "add")))
        if change == "replace":
            container[key] = deepcopy(draw(odd))
        elif change == "rename" and isinstance(container, dict):
            container[draw(odd.filter(_can_be_key))] = container.pop(key)
        elif change == "alias":
            container[key] = draw(st.sampled_from(places))[0]
        elif change == "add" and isinstance(container, dict):
            container[draw(odd.filter(_can_be_key))] = deepcopy(draw(odd))
        else:
            del container[key]
    return dumped(document)


def _places(container: Any, depth: int = 0) -> Iterator[tuple[Any, Any]]:
    """Every place in a document that holds something: its mapping or list, and its key there."""
    for key, value in list(container.items() if isinstance(container, dict) else enumerate(container)):
        yield container, key
        if isinstance(value, dict | list) and depth < 8:
            yield from _places(value, depth + 1)


def _can_be_key(value: Any) -> bool:
    return not isinstance(value, dict | list)


def message_of(file: Path) -> str:
    """What is wrong with a registry, or nothing."""
    try:
        registry.load(file)
    except UserError as error:
        return str(error)
    return ""


LONGEST_MESSAGE = 10_000  # characters, whatever is wrong and however often


def is_readable(message: str) -> bool:
    """Whether a message is short, and holds nothing that a terminal would obey."""
    return len(message) <= LONGEST_MESSAGE and all(line.isprintable() for line in message.split("\n"))


@settings(max_examples=100, derandomize=True)
@given(st.one_of(damaged_texts(), damaged_documents()))
def test_a_damaged_registry_ends_in_a_registry_or_a_readable_message(content: bytes) -> None:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "experiments.yaml"
        file.write_bytes(content)
        assert is_readable(message_of(file))


def ninefold(first: bytes, line: bytes) -> bytes:
    """A document whose every line holds nine aliases of the one before."""
    return first + b"".join(line % (i, i, b", ".join([b"*a%d" % (i - 1)] * 9)) for i in range(1, 30))


MIB = 2**20
LARGE = {
    "billion laughs": ninefold(b"a0: &a0 [x, x, x]\n", b"a%d: &a%d [%s]\n"),
    "a billion merges": ninefold(b"a0: &a0 {k: 1}\n", b"a%d: &a%d {<<: [%s]}\n"),
    "lists in lists": b"[" * MIB,
    "mappings in mappings": b"{" * MIB,
    "a long list": b"- a\n" * (MIB // 4),
    "a long mapping": b"".join(b"k%d: v\n" % i for i in range(90_000)),
    "a long text": b"a" * MIB,
    "a long key": b"a" * 2000 + b": " + b"b" * 2000,
    "a long alias": b"*" + b"a" * (MIB - 1),
    "unknown keys": b"".join(b"%d%s: x\n" % (i, b"y" * 30) for i in range(20_000)),
    "wrong runs": b"datasets: {}\nfigures: {}\nruns:\n" + b"".join(b" r%d: [1]\n" % i for i in range(15_000)),
    "a MiB and a byte": b"a" * (MIB + 1),
}  # fmt: skip


@pytest.mark.parametrize("name", LARGE)
def test_a_registry_that_is_large_or_expands_is_refused_with_a_short_message(tmp_path: Path, name: str) -> None:
    message = message_of(written(tmp_path, LARGE[name]))
    assert message
    assert is_readable(message)


def written(folder: Path, content: bytes) -> Path:
    file = folder / "experiments.yaml"
    file.write_bytes(content)
    return file


BROKEN = {
    b"a: 0b_": "is not valid YAML: invalid literal for int",
    b"a: " + b"9" * 5000: "is not valid YAML: Exceeds the limit",
    b"a: 2018-99-99": "is not valid YAML: month must be in 1..12",
    b"a: 2018-01-01": "a: this key is not known, found '2018-01-01'",
    b"a: !!bool maybe": "is not valid YAML: 'maybe'",
    b"a: !!int ''": "is not valid YAML: string index out of range",
    b"a: !!timestamp b": "is not valid YAML: ",
    b"2018-01-01: a": "is not valid YAML: keys must be str",
    b'a: "\\UFFFFFFFF"': "line 1: .* invalid Unicode character escape code",
    b"%YAML 1." + b"9" * 5000 + b"\n---\na: 1": "line 1: .*extremely long version number",
    b'a: "\\e[31mred"': r"found '\\x1b\[31mred'",
    b"a: \x1b": "unacceptable character #x001b: control characters are not allowed .* position 3",
    b"a: \xff": "is not valid YAML: 'utf-8' codec can't decode byte 0xff in position 3",
    "datasets: {}".encode("utf-16"): "is not valid YAML: 'utf-8' codec can't decode byte 0xff in position 0",
    b"a: &a [*a]": "line 1: a registry has no more than 50,000 keys and values",
    b"a: &a {<<: *a}": "line 1: a registry has no more than 50,000 keys and values",
    b"- " * 5000: "is not valid YAML: it has too many lists and mappings inside one another",
    b"a: *b": "line 1: found undefined alias",
    b"a: <<": "line 1: could not determine a constructor",
    b"[a]: b": "line 1: while constructing a mapping, found unhashable key",
    b"runs:\n  a: 1\n  'a': 2": "line 3: the key 'a' stands here twice; leave one of them",
    b"runs:\n- {a: {b: 1,\n  b: 2}}": "line 3: the key 'b' stands here twice; leave one of them",
    b"a: !!python/object/apply:os.system [touch pwned]": "line 1: could not determine a constructor .*os.system",
    b"": "Input should be an object, found None",
    b"- a": r"Input should be an object, found \['a'\]",
    b"a: 1\n---\nb: 1": "line 2: expected a single document in the stream",
    b"\n\na: [1, }": "is not valid YAML: line 3: while parsing a flow",
    b"a" * (MIB + 1): "is no registry: it has more than 1,048,576 bytes",
}


@pytest.mark.parametrize("content", BROKEN, ids=lambda content: repr(content[:20]))
def test_what_is_no_registry_is_refused_with_the_reason(tmp_path: Path, content: bytes) -> None:
    message = message_of(written(tmp_path, content))
    assert re.search(BROKEN[content], message), message
    assert is_readable(message)


def test_a_byte_order_mark_and_windows_line_ends_are_no_mistake(tmp_path: Path, experiments: Registry) -> None:
    content = Path("config/experiments.yaml").read_bytes()
    assert registry.load(written(tmp_path, b"\xef\xbb\xbf" + content.replace(b"\n", b"\r\n"))) == experiments


def test_aliases_and_merges_of_a_sensible_size_are_read(tmp_path: Path) -> None:
    text = dumped(small_document()).decode()
    assert "&id001" in text
    common = "runs:\n  digits-8-standard-s0: &common {dataset: digits, depth: 8, method: standard}\n"
    runs = "  digits-14-standard-s0: {<<: *common, depth: 14}\n"
    head, tail = text.split("runs:\n")
    tail = tail[tail.index("figures:") :].replace("- epsilon_side\n", "")
    loaded = registry.load(written(tmp_path, (head + common + runs + tail).encode()))
    assert [(run.depth, run.method) for run in loaded.runs.values()] == [(8, "standard"), (14, "standard")]


def test_of_many_mistakes_the_first_are_named_and_the_others_counted(tmp_path: Path) -> None:
    message = message_of(written(tmp_path, LARGE["wrong runs"]))
    assert message.count("\n") == 21
    assert "  runs.r0: Input should be an object, found [1]\n" in message
    assert message.endswith("and 14,980 mistakes more")
    assert is_readable(message)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ((*SMALL_RUN, "depth"), "8", "depth: Input should be a valid integer, found '8'"),
        ((*SMALL_RUN, "seed"), True, "seed: Input should be a valid integer, found True"),
        ((*SMALL_RUN, "depth"), 10**30, "depth: Input should be less than 2147483648"),
        ((*RECIPE, "rate"), "1e-4", r"rate: .* \(YAML wants a dot in it, as in 1.0e-4\), found '1e-4'"),
        ((*RECIPE, "rate"), float("inf"), "rate: Input should be a finite number, found inf"),
        ((*RECIPE, "nesterov"), 1, "nesterov: Input should be a valid boolean, found 1"),
        ((*DIGITS, "archives"), [], "archives: .* at least 1 item"),
        ((*ARCHIVE, "urls"), ["file:///etc/passwd"], "urls.0: must be an http:// or https:// address"),
        ((*ARCHIVE, "urls"), ["https://x.org/.."], "urls.0: .* that ends in the name of a file"),
        ((*ARCHIVE, "urls"), ["https://x.org/a/"], "urls.0: .* that ends in the name of a file"),
        ((*ARCHIVE, "urls"), ["https://x.org/$(x) y"], "urls.0: must be an http:// or https:// address"),
        ((*ARCHIVE, "urls"), ["javascript:alert(1)//https://x.org/a"], "urls.0: must be an http://"),
    ],
)  # fmt: skip
def test_values_of_another_type_or_beyond_reason_are_refused(
    tmp_path: Path, path: tuple[Any, ...], value: object, message: str
) -> None:
    document = small_document()
    _place(document, path)[path[-1]] = value
    found = message_of(written(tmp_path, dumped(document)))
    assert re.search(message, found), found


def _place(document: Any, path: tuple[Any, ...]) -> Any:
    return reduce(lambda part, key: part[key], path[:-1], document)


UNSAFE = (
    *("a b", "a'b", 'a"b', "a$(touch pwned)", "a`touch pwned`", "a;b", "a\n", "a\nb", "a/b", "../a", ".", ""),
    *("-a", "--root", "a{b}", "a\\b", "é", "a*", "a\x1b", "A", "a.b", "a" * 65, "root", "registry", "gpus", "sharing"),
)


def with_data_set(name: str, **archive: object) -> bytes:
    """A registry with one data set of that name, without runs."""
    digits = small_document()["datasets"]["digits"]
    digits["archives"] = [{**digits["archives"][0], **archive}]
    return dumped({"datasets": {name: digits}, "runs": {}, "figures": {}})


@pytest.mark.parametrize("name", UNSAFE)
def test_names_of_data_sets_that_a_shell_or_a_path_would_misread_are_refused(tmp_path: Path, name: str) -> None:
    assert message_of(written(tmp_path, with_data_set("a-b_1"))) == ""
    assert message_of(written(tmp_path, with_data_set(name)))


@pytest.mark.parametrize("part", ["files", "md5"])
@pytest.mark.parametrize("name", [*UNSAFE[: UNSAFE.index("A")], ".hidden", "..", "a..\\b", "C:x", "a" * 129])
def test_files_of_an_archive_are_plain_file_names(tmp_path: Path, part: str, name: str) -> None:
    digest = "0" * (64 if part == "files" else 32)
    assert message_of(written(tmp_path, with_data_set("a", **{part: {"a-b_1.tar.gz": digest}}))) == ""
    assert message_of(written(tmp_path, with_data_set("a", **{part: {name: digest}})))


@given(st.text(max_size=12))
def test_no_key_of_a_run_or_figure_differs_from_the_one_that_follows_from_its_values(key: str) -> None:
    for part in ("runs", "figures"):
        document = small_document()
        values = document[part].pop(min(document[part]))
        document[part][key] = values
        with TemporaryDirectory() as folder:
            assert message_of(written(Path(folder), dumped(document)))
