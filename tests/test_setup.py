"""`make setup` finds a Python 3.11 that runs, and a user's settings for others lead it nowhere else."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PROJECT

TOOLS = ("sh", "env", "head", "cat", "sha256sum", "mkdir", "cp", "chmod", "touch")
# Stands for Python 3.11: runs what it is given with the real one, but makes an environment of itself, whose pip says
# what it was given.
PYTHON = """#!/bin/sh
case "$*" in
  "-m venv .venv") mkdir -p .venv/bin && cp "$0" .venv/bin/python;;
  "-m pip"*) echo "pip PIP_USER=$PIP_USER PIP_TARGET=$PIP_TARGET PYTHONHOME=$PYTHONHOME";;
  *) exec {real} "$@";;
esac
"""
SHIM = '#!/bin/sh\necho "pyenv: python3.11: command not found" >&2\nexit 127\n'
OLD = '#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.2\nexit 1\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What `make setup` reads, and a PATH without any Python."""
    if shutil.which("make") is None:
        pytest.skip("make is not there")
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(PROJECT / name, tmp_path)
    (tmp_path / "bin").mkdir()
    for tool in TOOLS:
        (tmp_path / "bin" / tool).symlink_to(str(shutil.which(tool)))
    return tmp_path


def give(folder: Path, name: str, script: str) -> None:
    (folder / "bin" / name).write_text(script.replace("{real}", sys.executable))
    (folder / "bin" / name).chmod(0o755)


def setup(folder: Path, *arguments: str, expect: int = 0, **environment: str) -> str:
    process = subprocess.run(
        [str(shutil.which("make")), *arguments, "setup"],
        cwd=folder,
        env={"PATH": str(folder / "bin"), "HOME": str(folder), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert process.returncode == expect, process.stdout
    return process.stdout


def test_without_a_python_it_says_that_there_is_none(folder: Path) -> None:
    printed = setup(folder, expect=2)
    assert "Python 3.11 is needed, which is none of these:" in printed
    assert "python3.11: not found" in printed
    assert "make PYTHON=/path/to/python3.11 setup" in printed


def test_a_shim_that_runs_nothing_and_an_older_python_are_told_by_what_they_say(folder: Path) -> None:
    give(folder, "python3.11", SHIM)
    give(folder, "python3", OLD)
    printed = setup(folder, expect=2)
    assert "python3.11: pyenv: python3.11: command not found" in printed
    assert "python3: Python 3.9.2" in printed
    assert f"{folder}/bin/python3: Python 3.9.2" in setup(folder, f"PYTHON={folder}/bin/python3", expect=2)


def test_the_first_python_3_11_that_runs_is_taken(folder: Path) -> None:
    give(folder, "python3.11", SHIM)
    give(folder, "python3", OLD)
    give(folder, "python", PYTHON)
    assert "pip " in setup(folder)
    assert (folder / ".venv/installed").exists()


def test_settings_for_another_python_do_not_reach_pip(folder: Path) -> None:
    give(folder, "python3.11", PYTHON)
    printed = setup(folder, PIP_USER="1", PIP_TARGET="/elsewhere", PYTHONHOME="/nowhere")
    assert printed.count("pip PIP_USER=0 PIP_TARGET= PYTHONHOME=\n") == 2


def test_every_command_of_make_runs_without_them(folder: Path) -> None:
    printed = subprocess.run(
        ["make", "--no-print-directory", "-f", "Makefile", "-f", "-", "shown"],
        cwd=folder, env={**os.environ, "PYTHONHOME": "/nowhere"}, input="shown:\n\t@env\n",
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert "PYTHONHOME" not in printed
