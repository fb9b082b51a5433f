"""Configuration and file names reach no shell as commands, and no code runs anything that it reads."""

import ast
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from string import Template

import pytest
import yaml
from snakemake.cli import parse_config

from eps_resnet.experiments import registry
from eps_resnet.experiments.registry import Registry
from eps_resnet.files.errors import UserError
from eps_resnet.operations.generated import dvc_text
from eps_resnet.workflow import Workflow, refuse_what_a_clusters_shell_misreads
from tests.conftest import BIN, PROJECT, copy_project, run, small_registry

# A folder whose name runs a command wherever it stands unquoted, in single, or in double quotes.
TRAP = 'it\'s a "$(touch pwned)" `touch pwned`; touch pwned'
CLUSTER = ("--executor", "cluster-generic", "--cluster-generic-submit-cmd", "bash", "--jobs", "1")
ONCE = ("--cores", "1", "--retries", "0")
RUN = "digits-8-standard-s0"


@pytest.mark.slow
def test_a_project_a_root_and_a_registry_with_commands_in_their_names_run_none_of_them(tmp_path: Path) -> None:
    folder = copy_project(tmp_path / TRAP)
    (folder / ".venv").symlink_to(BIN.parent)
    small_registry(folder / "config" / f"{TRAP}.yaml", {"epochs": {"standard": 1, "epsilon": 1}})
    python = [str(folder / ".venv/bin/python"), "-m", "snakemake"]
    options = ["--cores", "1", "--config", f"root={TRAP}", f"registry=config/{TRAP}.yaml"]
    environment = {**os.environ, "PYTHONPATH": str(folder), "PATH": "/usr/bin:/bin"}  # without this environment's
    process = subprocess.run(
        [*python, *options, "--", f"{TRAP}/results/{RUN}/metrics.json"],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    assert (folder / TRAP / "results" / RUN / "metrics.json").exists()
    assert (folder / TRAP / "paper_tables/index.html").exists()
    assert list(tmp_path.rglob("pwned")) == []


def asked_for(*words: str) -> Workflow:
    """What Snakemake's rules are given by these words of --config, as Snakemake reads them."""
    return Workflow.of(parse_config(list(words)), words)


def test_a_root_a_registry_and_a_source_are_one_word_of_a_command_whatever_they_hold(tmp_path: Path) -> None:
    registry_file = small_registry(tmp_path / f"{TRAP}.yaml")
    asked = asked_for(f"root={TRAP}", f"registry={registry_file}", f"digits={TRAP}")
    assert shlex.split(asked.options) == [f"--root={TRAP}", f"--registry={registry_file}"]
    assert shlex.split(asked.source("digits")) == [f"--from={TRAP}"]


@pytest.mark.slow
def test_the_source_of_a_data_set_is_one_word_whatever_it_holds(project: Path) -> None:
    output = run(project, "snakemake", *ONCE, "--config", f"digits={TRAP}", "--", "data/digits.json", expect=1)
    assert f"it cannot be read from {TRAP}." in output.replace("\n", " ")
    assert list(project.rglob("pwned")) == []


MISREAD = [
    ("root", "{run}"),
    ("root", "a\nb"),
    ("root", "x #y"),
    ("root", "007"),
    ("registry", "a: b"),
    ("digits", "\x1b[m"),
]


@pytest.mark.parametrize(("name", "value"), MISREAD)
def test_values_that_snakemake_would_take_for_something_else_are_refused(name: str, value: str) -> None:
    with pytest.raises(UserError) as error:
        asked_for(f"{name}={value}")
    message = str(error.value)
    assert f"--config {name}= takes a path or an address without braces and control characters" in message
    assert ascii(f"{name}={value}") in message
    assert "\x1b" not in message


@pytest.mark.slow
def test_snakemake_refuses_them_in_a_sentence(project: Path) -> None:
    output = run(project, "snakemake", "-n", "--config", "digits=\x1b[m", "--", "demo", expect=1)
    assert "--config digits= takes a path or an address without braces and control characters" in output
    assert ascii("digits=\x1b[m") in output
    assert "Traceback" not in output
    assert "\x1b" not in output


@pytest.mark.parametrize("words", ["root=it's", "root=$(touch pwned)", 'registry="a"', "root=a;b", "root=a|b"])
def test_what_a_clusters_shell_would_misread_is_refused(words: str) -> None:
    with pytest.raises(UserError, match="Jobs of a cluster need paths without quotes"):
        refuse_what_a_clusters_shell_misreads([words])


@pytest.mark.slow
def test_what_a_clusters_shell_would_misread_is_refused_before_a_job_is_submitted(project: Path) -> None:
    words = f"root=it's $(touch {project}/pwned)"
    target = f"{words.removeprefix('root=')}/results/{RUN}/metrics.json"
    output = run(project, "snakemake", *CLUSTER, "--config", words, "--", target, expect=1)
    assert "Jobs of a cluster need paths without quotes" in output
    assert "Traceback" not in output
    assert not (project / "pwned").exists()


def test_shells_get_names_of_the_registry_and_quoted_words_only() -> None:
    safe = {"wildcards.dataset", "wildcards.run", "wildcards.figure", "threads", "log:q", "eps.options"}
    safe |= {"params.launch", "params.options", "params.source", "params.sharing"}  # quoted where they are made
    commands = [
        command
        for path in (PROJECT / "Snakefile", *PROJECT.glob("workflow/rules/*.smk"))
        for command in re.findall(r'^ *(?:shell:\n +|shell\()"([^"\n]*)"', path.read_text(), re.MULTILINE)
    ]
    assert len(commands) == 7
    assert {name for command in commands for name in re.findall(r"{([^}]*)}", command)} == safe


def test_commands_of_dvc_hold_plain_words_only(experiments: Registry, tmp_path: Path) -> None:
    for known in (experiments, registry.load(small_registry(tmp_path / "experiments.yaml"))):
        stages = yaml.safe_load(dvc_text(known))["stages"]
        commands = []
        for stage in stages.values():
            (variables,) = stage["vars"]
            for command in [stage["cmd"]] if isinstance(stage["cmd"], str) else stage["cmd"]:
                commands.append(Template(command).substitute(variables))
        assert len(commands) == len(known.datasets) + 2 * len(known.runs) + len(known.figures)
        for command in commands:
            assert re.fullmatch(r"[A-Za-z0-9_./ -]+", command), command


# What runs code that it reads, or hands text to a shell; of yaml all but what is listed in SAFE_YAML.
UNSAFE_MODULES = ("pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal")
UNSAFE_NAMES = {
    *("eval", "exec", "__import__", "builtins.eval", "builtins.exec", "os.system", "os.popen", "tempfile.mktemp"),
    *("torch.load", "torch.save", "torch.serialization.load", "pandas.read_pickle", "subprocess.getoutput"),
    *("subprocess.getstatusoutput", "torch.hub.load", "torch.package"),
}
SAFE_YAML = {
    *("safe_load", "safe_dump", "SafeLoader", "YAMLError", "MarkedYAMLError", "reader.ReaderError", "reader"),
    *("CSafeLoader", "CSafeLoader.__init__", "SafeLoader.__init__", "__with_libyaml__"),
    *("composer.Composer", "composer.Composer.__init__"),
    *("Node", "ScalarNode", "SequenceNode", "MappingNode", "CollectionNode", "AliasEvent"),
}
SAFE_ONLY_AS_FALSE = {"shell", "allow_pickle"}


def unsafe(source: str) -> Iterator[str]:
    """What in a module's source is not safe, with its line."""
    tree = ast.parse(source)
    names = dict(_imported(tree))
    for node in ast.walk(tree):
        found = None
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [item.name for item in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            found = next((module for module in modules if module.split(".")[0] in UNSAFE_MODULES), None)
            if isinstance(node, ast.ImportFrom) and not found:
                found = next((n for item in node.names if _is_unsafe(n := f"{node.module}.{item.name}")), None)
        elif isinstance(node, ast.Name | ast.Attribute) and _is_unsafe(name := _dotted(node, names)):
            found = name
        elif isinstance(node, ast.keyword) and node.arg in SAFE_ONLY_AS_FALSE:
            found = None if isinstance(node.value, ast.Constant) and node.value.value is False else node.arg
        if found:
            yield f"line {getattr(node, 'lineno', '?')}: {found}"


def _imported(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """What each imported name of a module stands for."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((item.asname, item.name) for item in node.names if item.asname)
        elif isinstance(node, ast.ImportFrom):
            yield from ((item.asname or item.name, f"{node.module}.{item.name}") for item in node.names)


def _dotted(node: ast.AST, names: dict[str, str]) -> str:
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id)
    return f"{_dotted(node.value, names)}.{node.attr}" if isinstance(node, ast.Attribute) else ""


def _is_unsafe(name: str) -> bool:
    module, _, rest = name.partition(".")
    return name in UNSAFE_NAMES or (module == "yaml" and rest not in SAFE_YAML | {""})


@pytest.mark.parametrize("path", sorted(PROJECT.glob("eps_resnet/**/*.py")), ids=lambda path: path.stem)
def test_no_module_unpickles_evaluates_or_calls_a_shell(path: Path) -> None:
    assert list(unsafe(path.read_text())) == []


@pytest.mark.parametrize("path", [PROJECT / "Snakefile", *sorted(PROJECT.glob("workflow/rules/*.smk"))])
def test_no_rule_unpickles_evaluates_or_loads_yaml(path: Path) -> None:
    words = r"\b(pickle|os\.system|os\.popen|mktemp|torch\.(load|save)|yaml\.\w+|shell=|allow_pickle)\b"
    words += r"|\b(eval|exec)\("  # Python's; the shell's exec runs what stands in the rule
    assert re.findall(words, path.read_text()) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "import pickle as p",
        "from pickle import loads",
        "import a, joblib.memory",
        "import torch\ntorch.load(x)",
        "import torch as t\nf = t.save",
        "from torch import load",
        "from torch import load as safe\nsafe(x)",
        "import torch.serialization\ntorch.serialization.load(x)",
        "import yaml\nyaml.load(x, Loader=yaml.SafeLoader)",
        "import yaml\nyaml.unsafe_load(x)",
        "from yaml import FullLoader",
        "import yaml\nclass L(yaml.Loader): ...",
        "eval(x)",
        "exec(x)",
        "f = exec",
        "from os import system",
        "import os\nos.system(x)",
        "import subprocess\nsubprocess.run(x, shell=True)",
        "import subprocess\nsubprocess.run(x, shell=y)",
        "import numpy as np\nnp.load(x, allow_pickle=True)",
        "import tempfile\ntempfile.mktemp()",
        "import pandas as pd\npd.read_pickle(x)",
    ],
)
def test_each_of_these_would_be_found(source: str) -> None:
    assert list(unsafe(source))


def test_what_is_safe_is_not_taken_for_unsafe() -> None:
    source = "import yaml, subprocess\nyaml.safe_load(x)\nmodel.eval()\nsubprocess.run([x], shell=False)\n"
    assert list(unsafe(source)) == []
