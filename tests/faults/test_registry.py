"""Any bytes in place of the registry: a registry or one readable message, in little memory and time."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import Fault
from tests.experiments.test_registry import LARGE, damaged_documents, damaged_texts, is_readable

pytestmark = pytest.mark.faults

# Loads each file named on a line, and answers with how that ended. What the system allows it is all there is.
LOADER = """
import json, resource, sys
from pathlib import Path
from eps_resnet.experiments import registry
from eps_resnet.files.errors import UserError

resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))
resource.setrlimit(resource.RLIMIT_CPU, (600, 600))
for path in sys.stdin:
    names, message = [], ""
    try:
        loaded = registry.load(Path(path.rstrip("\\n")))
        kind, names = "Registry", [*loaded.datasets, *loaded.runs, *loaded.figures]
    except BaseException as error:
        kind, message = type(error).__name__, str(error)
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    peak = int(status["VmHWM"].split()[0])  # ru_maxrss would count the process that started this one
    print(json.dumps({"kind": kind, "names": names, "message": message, "peak": peak}), flush=True)
"""
MOST_MEMORY = 192 * 1024  # kB, the interpreter and its libraries included
INPUTS = 6000  # of each kind


class Loader:
    """A process that loads registries one after another; `peak`: the most memory it has had, in kB."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "experiments.yaml"
        command = [sys.executable, "-c", LOADER]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def check(self, content: bytes) -> str:
        """Loads that content. Raises AssertionError unless it ends in a sound registry or a readable message."""
        assert self.process.stdin
        assert self.process.stdout
        self.file.write_bytes(content)
        self.process.stdin.write(f"{self.file}\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        assert answer["kind"] in ("Registry", "UserError"), answer
        assert is_readable(answer["message"])
        assert all(re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name) for name in answer["names"])
        assert answer["peak"] < MOST_MEMORY
        return str(answer["kind"])

    def close(self) -> None:
        """Ends the process."""
        assert self.process.stdin
        self.process.stdin.close()
        assert self.process.wait(timeout=60) == 0


@pytest.fixture
def loader(tmp_path: Path) -> Iterator[Loader]:
    loader = Loader(tmp_path)
    yield loader
    loader.close()


many = settings(
    max_examples=INPUTS, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)


@many
@given(content=damaged_texts())
def test_damaged_texts_end_in_a_registry_or_a_readable_message(loader: Loader, fault: Fault, content: bytes) -> None:
    with fault("registry: bytes of the file changed"):
        loader.check(content)


@many
@given(content=damaged_documents())
def test_damaged_values_end_in_a_registry_or_a_readable_message(loader: Loader, fault: Fault, content: bytes) -> None:
    with fault("registry: values, keys or aliases replaced"):
        loader.check(content)


@settings(many, max_examples=500)
@given(content=st.binary(max_size=2000))
def test_any_bytes_end_in_a_registry_or_a_readable_message(loader: Loader, fault: Fault, content: bytes) -> None:
    with fault("registry: any bytes"):
        loader.check(content)


@pytest.mark.parametrize("name", LARGE)
def test_large_files_are_refused_within_the_same_memory(loader: Loader, fault: Fault, name: str) -> None:
    with fault("registry: a file of a MiB, or one that expands"):
        assert loader.check(LARGE[name]) == "UserError"
