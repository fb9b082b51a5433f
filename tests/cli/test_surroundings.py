"""Tables, drawings and what is printed are the same bytes whatever the user's own settings are."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.conftest import PROJECT

PROBE = PROJECT / "eps_resnet/cli/probe.py"  # several commands in one process
DRAWN = "figure6-digits"
COMMANDS = (["draw", DRAWN, "figure9-digits"], ["report"], ["compare"], ["claims"], ["consistency"], ["print", DRAWN])
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
# What changes a drawing, and what stops matplotlib.
MATPLOTLIBRC = "text.usetex: True\nfont.size: 20\nsvg.fonttype: path\naxes.facecolor: black\nsavefig.bbox: tight\n"


@dataclass
class Surroundings:
    variables: dict[str, str] = field(default_factory=dict)
    umask: int = -1
    files: dict[str, str] = field(default_factory=dict)  # in the working folder


SURROUNDINGS = {
    "a matplotlibrc": Surroundings({"MATPLOTLIBRC": "{folder}/own"}, files={"own": MATPLOTLIBRC}),
    "a matplotlibrc in the working folder": Surroundings(files={"matplotlibrc": MATPLOTLIBRC}),
    "a matplotlibrc in the home folder": Surroundings(
        {"HOME": "{folder}", "XDG_CONFIG_HOME": "{folder}"}, files={"matplotlib/matplotlibrc": MATPLOTLIBRC}
    ),
    "a backend that is not there": Surroundings({"MPLBACKEND": "nonsense"}),
    "ASCII": Surroundings(ASCII),
    "Latin-1": Surroundings({"LC_ALL": "en_US", "LOCPATH": "{folder}/locales", "PYTHONUTF8": "0"}),
    "a umask": Surroundings(umask=0o077),
    "a time zone": Surroundings({"TZ": "Pacific/Kiritimati"}),
    "colours": Surroundings({"FORCE_COLOR": "1", "TTY_COMPATIBLE": "1", "CLICOLOR_FORCE": "1", "COLUMNS": "40"}),
    "no colours": Surroundings({"NO_COLOR": "1", "TERM": "dumb"}),
}


def made(folder: Path, surroundings: Surroundings) -> dict[str, bytes]:
    """What the commands print, and the files they write, of the committed results."""
    for part in ("results", "data", "config", "docs"):
        (folder / part).symlink_to(PROJECT / part)
    (folder / "paper_tables").mkdir()
    (folder / "paper_tables/published").symlink_to(PROJECT / "paper_tables/published")
    for name, content in surroundings.files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    variables = {name: value.format(folder=folder) for name, value in surroundings.variables.items()}
    process = subprocess.run(
        [sys.executable, str(PROBE), *(word for command in COMMANDS for word in ("--", *command))],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(PROJECT), "PYTHONSAFEPATH": "1", **variables},
        umask=surroundings.umask,
        capture_output=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr.decode(errors="replace")
    tables = folder / "paper_tables"
    files = [path for path in sorted(tables.rglob("*")) if path.is_file() and "published" not in path.parts]
    written = {str(path.relative_to(tables)): path.read_bytes() for path in files}
    return {"standard output": process.stdout, "standard error": process.stderr, **written}


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return made(tmp_path_factory.mktemp("plain"), Surroundings({"LC_ALL": "C.UTF-8"}))


@pytest.mark.slow
@pytest.mark.parametrize("name", SURROUNDINGS)
def test_a_users_settings_change_no_byte(name: str, tmp_path: Path, expected: dict[str, bytes]) -> None:
    if name == "Latin-1":
        make_latin_1(tmp_path / "locales")
    found = made(tmp_path, SURROUNDINGS[name])
    assert [part for part in expected if found.get(part) != expected[part]] == []
    assert found.keys() == expected.keys()
    assert "ε".encode() in found["standard output"]


def make_latin_1(folder: Path) -> None:
    if shutil.which("localedef") is None:
        pytest.skip("localedef is not there to make a locale that is not UTF-8")
    folder.mkdir()
    command = ["localedef", "-i", "en_US", "-f", "ISO-8859-1", "--no-archive", str(folder / "en_US")]
    process = subprocess.run(command, capture_output=True, check=False)
    if not (folder / "en_US").exists():
        pytest.skip(f"no locale that is not UTF-8: {process.stderr!r:.200}")
