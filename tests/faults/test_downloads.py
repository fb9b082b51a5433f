"""Downloads that are killed, cut, exchanged and refused at drawn moments: the right file in the end, or a message."""

import random
import signal
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eps_resnet.data import download as module
from eps_resnet.data import store
from eps_resnet.data.fetch import _download_verified
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.registry import Registry
from eps_resnet.files.errors import UserError
from tests.conftest import PROJECT, Fault
from tests.data.misbehaving_server import Handler, Site, cut_at, serving, stalling_at, status, well, whole
from tests.data.test_cifar import accepting, archive
from tests.data.test_download import DOWNLOAD, cifar, fetching, layout, wait_for_bytes

__all__ = ["accepting", "archive", "cifar", "layout"]  # fixtures, and what they need
pytestmark = pytest.mark.faults
CONTENT = random.Random(0).randbytes(3_000_000)
DOWNLOADS = 25  # each killed once to three times
SEQUENCES = 500
KILLED = "a download is killed (SIGKILL)"


def test_a_download_killed_at_any_moment_is_continued_to_the_right_file(tmp_path: Path, fault: Fault) -> None:
    draw = random.Random(1)
    for number in range(DOWNLOADS):
        target = tmp_path / f"{number}.bin"
        with serving(Site(CONTENT)) as site:
            command = [sys.executable, "-c", DOWNLOAD, f"{site.address}/file", str(target)]
            with fault(KILLED):
                place = draw.randrange(2 * module.CHUNK, len(CONTENT))
                killed_at(site, command, place, target.with_name(f"{target.name}.part"))
                assert not target.exists()
            for _ in range(draw.randint(0, 2)):
                with fault(KILLED):
                    killed_at(site, command, draw.choice([draw.randrange(len(CONTENT)), len(CONTENT)]))
                    assert not target.exists() or target.read_bytes() == CONTENT
            subprocess.run(command, cwd=PROJECT, stderr=subprocess.DEVNULL, check=True, timeout=60)
            assert int(site.requests[1]["Range"].strip("bytes=-")) > place - module.CHUNK
            assert target.read_bytes() == CONTENT
            assert [path for path in tmp_path.iterdir() if ".part" in path.name] == []


def killed_at(site: Site, command: list[str], place: int, part: Path | None = None) -> None:
    """Kills a download when the server has sent that much of the file, and if `part` is given, when most is in it."""
    site.stalled.clear()
    site.answers = [stalling_at(place)]
    with subprocess.Popen(command, cwd=PROJECT, stderr=subprocess.DEVNULL) as process:
        assert site.stalled.wait(60)
        if part:
            wait_for_bytes(process, part, place - module.CHUNK + 1)
        process.send_signal(signal.SIGKILL)
    site.answers = []


def exchanged(site: Site, handler: Handler) -> None:
    """The file is another one from now on."""
    site.content = site.content[::-1]
    well(site, handler)


ANSWERS: dict[str, Callable[[int], Callable[[Site, Handler], None]]] = {
    "cut": cut_at,
    "whole": lambda _: whole,
    "well": lambda _: well,
    "exchanged": lambda _: exchanged,
    "unavailable": lambda _: status(503),
    "gone": lambda _: status(404),
    "not satisfiable": lambda _: status(416),
    "redirect": lambda _: status(302, Location="/elsewhere"),
}


@settings(
    max_examples=SEQUENCES, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
@given(st.lists(st.tuples(st.sampled_from(sorted(ANSWERS)), st.integers(0, 400_000)), max_size=12))
def test_any_sequence_of_bad_answers_ends_in_one_version_of_the_file_or_a_message(
    tmp_path: Path, fault: Fault, monkeypatch: pytest.MonkeyPatch, sequence: list[tuple[str, int]]
) -> None:
    monkeypatch.setattr(module, "PAUSES", (0, 0, 0, 0))
    first, target = CONTENT[:400_000], tmp_path / "file.bin"
    wanted = [sha256(version).hexdigest() for version in (first, first[::-1])]
    for path in tmp_path.iterdir():
        path.unlink()
    with serving(Site(first)) as site, fault("a server answers badly, a dozen times at most"):
        site.answers = [ANSWERS[kind](place) for kind, place in sequence]
        for _ in range(len(sequence) + 1):
            try:
                _download_verified(f"{site.address}/file", target, wanted)
            except UserError:
                assert not target.exists()
                continue
            break
        assert target.read_bytes() in (first, first[::-1])
        assert [path.name for path in tmp_path.iterdir()] == ["file.bin"]


def test_who_waits_goes_on_where_a_killed_process_was(
    cifar: tuple[Registry, Site], layout: Layout, fault: Fault
) -> None:
    registry, site = cifar
    site.answers = [stalling_at(70_000)]
    with fetching(registry, layout) as first:
        assert site.stalled.wait(60)
        with fetching(registry, layout) as second, fault("a fetch that others wait for is killed (SIGKILL)"):
            assert second.stderr is not None
            assert f"waiting for process {first.pid} on " in second.stderr.readline()
            first.send_signal(signal.SIGKILL)
            assert second.wait(60) == 0
    assert "Range" in site.requests[1]
    assert len(store.load(layout, "cifar10").train_labels) == 20
