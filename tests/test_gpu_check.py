"""The checks of a card, run on the CPU: that each works, that its time is limited, and that a missing card is told."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks import gpu_check, gpu_checks

SLOW = {"resume", "sharing", "speed", "training"}
CPU_ALONE = pytest.mark.skipif(torch.cuda.is_available(), reason="with a card the checks take its full size")


def test_there_are_thirteen_checks_each_with_a_limit_of_time() -> None:
    assert list(gpu_check.CAPS) == list(gpu_checks.CHECKS)
    assert len(gpu_check.CAPS) == 13
    assert gpu_check.LIMIT < 8 * 60


@CPU_ALONE
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in gpu_check.CAPS]
)
def test_each_check_holds_on_a_cpu_and_says_what_only_a_card_can(name: str) -> None:
    check = gpu_checks.run(name, 120)
    json.dumps(check)
    assert check["holds"] in ((None,) if name in ("sharing", "speed") else (True,)), check
    assert check["figures"]
    assert check["not_run"] or name in ("late", "not finite", "training", "resume")


@CPU_ALONE
def test_the_checks_notice_what_they_look_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """One network starts from other weights, and one gate is said to be closed that is open."""
    really, calls = gpu_checks.training_on, []

    def other(*arguments: object, **settings: object) -> object:
        training = really(*arguments, **settings)  # type: ignore[arg-type]
        calls.append(training)
        with torch.no_grad():
            training.network.head.linear.bias += 0.1 * len(calls)
        return training

    monkeypatch.setattr(gpu_checks, "training_on", other)
    for name in ("parity", "late", "repeatability"):
        assert gpu_checks.run(name, 60)["holds"] is False, name


def test_a_check_without_time_or_beyond_it_is_told_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_check, "CAPS", {"bounds": 1.0})
    out = tmp_path / "new" / "out.json"
    checks = gpu_check.run_all(out, ["bounds"])
    assert checks["bounds"]["not_run"] == "not finished after its 1 s"
    assert json.loads(out.read_text()) == {"finished": 1, "of": 1, "checks": checks}
    monkeypatch.setattr(gpu_check, "LIMIT", 0)
    assert "were over" in gpu_check.run_all(out, ["bounds"])["bounds"]["not_run"]
    assert "**fails**" in gpu_check.table(checks)


def test_results_of_a_card_are_kept_by_its_name_and_those_without_one_are_not() -> None:
    of_a_card = gpu_check.default_path({"figures": {"card": "NVIDIA H200"}})
    assert of_a_card == Path("benchmarks/results/gpu-nvidia-h200.json")
    assert gpu_check.default_path({"figures": {}}).parts[0] == "work"  # which git ignores


def test_a_package_that_is_missing_is_told_by_the_check_that_needs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pydantic.py").write_text("raise ModuleNotFoundError(\"No module named 'pydantic'\")")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path.cwd()}")
    check = gpu_check.run_all(tmp_path / "out.json", ["bounds"])["bounds"]
    assert (check["holds"], check["not_run"]) == (False, "ModuleNotFoundError: No module named 'pydantic'")
