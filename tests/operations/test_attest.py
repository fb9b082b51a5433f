"""Changes of the code, really made in a copy of it: which of them `eps-resnet attest` accepts, and which it refuses."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.registry import load
from eps_resnet.files.atomic import write_json
from eps_resnet.operations.attest import is_made_anew
from eps_resnet.operations.probes import INTERRUPTED, SHARED
from eps_resnet.provenance.code import LAYERS, PACKAGE, Layer, code_digest, layer_digest, layer_files
from eps_resnet.provenance.lineage import Entry, append, entries
from tests.conftest import PROJECT

LAYER: tuple[Layer, ...] = ("training", "evaluation")
PROBES = ("plain-8-standard-s0", "plain-14-epsilon_side-4p5-s0")
CALL = (
    "import sys; from pathlib import Path\n"
    "from eps_resnet.operations.attest import attest\n"
    "from eps_resnet.files.errors import UserError\n"
    "try:\n"
    "    print(*[entry.layer for entry in attest(Path('probes.yaml'), is_fast=True)])\n"
    "except UserError as error:\n"
    "    sys.exit(str(error))\n"
)


class House:
    """A copy of the package in a repository of its own, whose first commit is taken for attested."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.package = folder, folder / "eps_resnet"
        shutil.copytree(PACKAGE, self.package, ignore=shutil.ignore_patterns("__pycache__"))
        document = yaml.safe_load((PROJECT / "config/probes.yaml").read_text())
        document["datasets"] = {"plain": document["datasets"]["plain"]}
        document["runs"] = {key: document["runs"][key] for key in PROBES}
        (folder / "probes.yaml").write_text(yaml.safe_dump(document))
        (folder / ".gitignore").write_text("__pycache__/\n")
        self.git("init", "-q")
        self.commit()
        self._take_for_attested(self.git("rev-parse", "HEAD").strip())
        self.commit()

    def _take_for_attested(self, commit: str) -> None:
        path = self.package / "provenance/lineage.jsonl"
        path.write_text("")
        entries.cache_clear()
        for layer in LAYER:
            sources = (file.read_text() for file in layer_files(layer, package=self.package))
            places = tuple(f"eps_resnet/{place}" for place in LAYERS[layer])
            append(Entry(layer, "0" * 16, code_digest(sources), (commit, commit), "same source", places), path)

    def git(self, *words: str) -> str:
        command = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org", *words]
        return subprocess.run(command, cwd=self.folder, check=True, capture_output=True, text=True).stdout

    def commit(self) -> None:
        self.git("add", "-A")
        self.git("commit", "-qm", "a change")

    def python(self, program: str) -> "subprocess.CompletedProcess[str]":
        environment = {"PYTHONPATH": str(self.folder), "PATH": "/usr/bin:/bin"}
        command = [sys.executable, "-c", program]
        return subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)

    def change(self, module: str, *replacements: tuple[str, str]) -> None:
        """Other words in a module, each of which must be there."""
        path = self.package / module
        text = path.read_text()
        for then, now in replacements:
            assert then in text, then
            text = text.replace(then, now)
        path.write_text(text)

    def attest(self) -> tuple[bool, str]:
        """Whether what was changed and committed is accepted, and the layers it is of or the reason."""
        process = self.python(CALL)
        return process.returncode == 0, (process.stdout or process.stderr).strip()

    @property
    def lineage(self) -> bytes:
        return (self.package / "provenance/lineage.jsonl").read_bytes()


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def renamed_moved_and_extracted(house: House) -> None:
    """A renamed local variable, a function in another module, and a few lines in a function of their own."""
    house.change("method/gate.py", ("low, high = ", "least, most = "), ("(-low, high)", "(-least, most)"))
    gate, text = house.package / "method/gate.py", (house.package / "method/gate.py").read_text()
    start = text.index("def largest_response")
    end = text.index("\n\n\n", start)
    head = "import torch\nfrom torch import Tensor\n\n\n"
    (house.package / "method/responses.py").write_text(f"{head}{text[start:end]}\n")
    gate.write_text("from eps_resnet.method.responses import largest_response\n" + text[:start] + text[end:])
    rate = """    for group in training.optimizer.param_groups:
        group["lr"] = rate
        group["weight_decay"] = weight_decay(training.recipe, training.step) if group["decays"] else 0.0
"""
    helper = f"def _set_rate(training: Training, rate: float) -> None:\n{rate}\n\n"
    house.change(
        "method/loop.py", (rate, "    _set_rate(training, rate)\n"), ("def _forward(", f"{helper}def _forward(")
    )


@pytest.mark.slow
def test_a_renamed_variable_a_moved_function_and_an_extracted_helper_are_accepted(house: House) -> None:
    before = house.lineage
    renamed_moved_and_extracted(house)
    house.commit()
    assert house.attest() == (True, "training")
    assert house.lineage.startswith(before)
    entry = entries(house.package / "provenance/lineage.jsonl")[-1]
    assert (entry.evidence, set(entry.probes or {})) == ("probes", set(PROBES))
    house.commit()
    assert house.attest() == (True, "")  # there is nothing more to attest


REFUSED: dict[str, tuple[str, tuple[str, str], str]] = {
    "a comparison of the gate": (
        "method/gate.py",
        ("Decision(response <= float", "Decision(response < float"),
        "decide (eps_resnet/method/gate.py",
    ),
    "a default": ("method/state.py", ("epsilon: float = 0.0", "epsilon: float = 1.0"), "Snapshot.epsilon"),
    "a constant": ("method/schedule.py", ("RUNNING_STEPS = 0.95, 390", "RUNNING_STEPS = 0.9, 390"), "RUNNING_DECAY"),
    "a number": ("method/networks/resnet.py", ("math.sqrt(1.3 * 2 / fan)", "math.sqrt(1.4 * 2 / fan)"), "initialise"),
}


@pytest.mark.slow
@pytest.mark.parametrize("what", REFUSED)
def test_another_value_is_refused_by_name_before_anything_is_trained(house: House, what: str) -> None:
    module, replacement, name = REFUSED[what]
    before = house.lineage
    house.change(module, replacement)
    house.commit()
    is_accepted, reason = house.attest()
    assert not is_accepted
    assert "may change a result in a case that no probe meets" in reason
    assert name in reason
    assert house.lineage == before


def sums_in_another_order(house: House) -> None:
    house.change("method/networks/resnet.py", (".mean((2, 3))", ".mean(3).mean(2)"))


def a_function_that_no_probe_executes(house: House) -> None:
    house.change("method/gate.py", ("total: Tensor = _MaskedSum", "result: Tensor = _MaskedSum"))
    house.change("method/gate.py", ("return total, _over_slices", "return result, _over_slices"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (sums_in_another_order, "are not the same: network."),
        (a_function_that_no_probe_executes, "masked_sum (eps_resnet/method/gate.py:"),
    ],
)
def test_another_result_and_what_no_probe_executed_are_refused(
    house: House, change: Callable[[House], None], reason: str
) -> None:
    before = house.lineage
    change(house)
    house.commit()
    is_accepted, found = house.attest()
    assert not is_accepted
    assert reason in found
    assert house.lineage == before


@pytest.mark.slow
def test_a_probe_is_interrupted_and_another_is_trained_by_two_processes() -> None:
    assert {INTERRUPTED, SHARED} <= load(PROJECT / "config/probes.yaml").runs.keys()


def test_code_that_is_not_committed_is_not_attested(house: House) -> None:
    house.change("method/gate.py", ("values", "numbers"))
    assert house.attest()[1].startswith("eps_resnet/ has changes that are not committed")


def test_the_lineage_begins_anew_where_all_results_were_made_by_the_present_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout, now = Layout(tmp_path), layer_digest("training")
    monkeypatch.setattr("eps_resnet.operations.attest.entries", lambda: ())
    assert not is_made_anew("training", layout)  # there are no results
    for key in ("one", "two"):
        write_json(layout.run(key).manifest, {"made_from": {"code": now}})
    assert is_made_anew("training", layout)
    write_json(layout.run("two").manifest, {"made_from": {"code": "0" * 16}})
    assert not is_made_anew("training", layout)
    write_json(layout.run("two").manifest, {"made_from": {"code": now}})
    known = Entry("training", "0" * 16, now, ("", ""), "probes", ())
    monkeypatch.setattr("eps_resnet.operations.attest.entries", lambda: (known,))
    assert not is_made_anew("training", layout)  # the lineage speaks of this code already
