"""RANK and its like: as torchrun sets them, or told apart with a sentence."""

import os

import pytest

from eps_resnet.files.errors import UserError
from eps_resnet.runs.processes import require_consistent_environment
from tests.cli.test_cli import eps

NAMES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
MEETING = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}


@pytest.fixture(autouse=True)
def _not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"RANK": "1"}, "RANK=1 is not below WORLD_SIZE, which is not set"),
        ({"RANK": "2", "WORLD_SIZE": "2", **MEETING}, "RANK=2 is not below WORLD_SIZE, which is 2"),
        ({"RANK": "one"}, "RANK='one' is no number"),
        ({"RANK": "-1"}, "RANK='-1' is no number"),
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE=2, but RANK and MASTER_ADDR and MASTER_PORT are not set"),
        ({"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "a"}, "WORLD_SIZE=2, but MASTER_PORT is not set"),
    ],
)
def test_a_rank_that_cannot_be_is_refused_with_what_to_unset(
    variables: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=message) as refusal:
        require_consistent_environment()
    assert "`unset RANK WORLD_SIZE MASTER_ADDR MASTER_PORT`" in str(refusal.value)


@pytest.mark.parametrize("variables", [{}, {"RANK": "0"}, {"RANK": "1", "WORLD_SIZE": "2", **MEETING}])
def test_what_torchrun_sets_passes(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    require_consistent_environment()


def test_an_empty_rank_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.setenv(name, "")
    require_consistent_environment()
    assert not set(NAMES) & set(os.environ)


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"RANK": "1"}, "eps-resnet, process 1: RANK=1 is not below WORLD_SIZE"),
        ({"RANK": "", "WORLD_SIZE": ""}, "eps-resnet: No run is called"),
    ],
)
def test_the_command_checks_it_first(variables: dict[str, str], message: str) -> None:
    process = eps(
        "train", "digits-20-nothing-s0" if not variables["RANK"] else "digits-20-standard-s0", expect=1, **variables
    )
    assert process.stderr.startswith(message)
