"""DVC remotes under faults: pushes and pulls that are killed or cut off, and objects damaged in every place."""

import random
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from tests.conftest import Fault
from tests.workflow.remotes import (
    MODEL,
    REMOTES,
    Published,
    check,
    damage,
    damaged,
    is_whole,
    md5,
    object_of,
    objects,
    publish,
    ssh_server,
    tracked,
)

pytestmark = pytest.mark.faults
KILLS = 6
CUTS = 3
DAMAGES = ("flipped byte", "truncated", "missing")
PADDING = 64 << 20  # a file large enough that a kill falls into the middle of a copy


@pytest.fixture(scope="module")
def published(demo: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Published]:
    base = tmp_path_factory.mktemp("remotes")
    with ssh_server(base / "sshd") as server:
        yield publish(demo[0], base, server)


def new_remote(published: Published, project: Path, name: str) -> Path:
    """Adds an empty remote on the server to a project and returns where it keeps its objects."""
    place = published.base / name
    key = str(published.server.folder / "user_key")
    published.run(project, "dvc", "remote", "add", "--local", name, published.address(place))
    published.run(project, "dvc", "remote", "modify", "--local", name, "keyfile", key)
    return place / "files/md5"


def has_all(store: Path, project: Path) -> bool:
    """Whether a store has the objects of a project, whole and nothing else."""
    return objects(store) == {digest: digest for digest in tracked(project).values()}


def traffic(published: Published, project: Path, *command: str) -> int:
    """How many bytes a command exchanges with the server."""
    published.server.hold(None)
    published.run(project, *command)
    return published.server.passed


def stop_midway(published: Published, project: Path, limit: int, command: tuple[str, ...], kill: bool) -> None:
    """Lets a command exchange so many bytes with the server; then kills it, or cuts its connection."""
    published.server.hold(limit)
    process = published.start(project, *command)
    try:
        assert published.server.is_held.wait(timeout=120)
    finally:
        if kill:
            process.kill()
        published.server.cut()
        code = process.wait(timeout=120)
        published.server.hold(None)
    assert code == -signal.SIGKILL if kill else code > 0


@pytest.mark.parametrize("kill", [True, False], ids=["killed", "connection lost"])
def test_a_push_by_ssh_that_was_stopped_is_completed_by_the_next_one(
    published: Published, fault: Fault, kill: bool
) -> None:
    project, draw = published.project, random.Random(0 if kill else 1)
    new_remote(published, project, f"whole-{kill}")
    total = traffic(published, project, "dvc", "push", "--remote", f"whole-{kill}")
    assert total > sum((project / path).stat().st_size for path in tracked(project))
    for index in range(KILLS if kill else CUTS):
        with fault("`dvc push` killed, then repeated" if kill else "SSH connection lost in `dvc push`, then repeated"):
            name = f"stopped-{kill}-{index}"
            store = new_remote(published, project, name)
            command = ("dvc", "push", "--remote", name)
            stop_midway(published, project, draw.randrange(total), command, kill)
            assert not has_all(store, project)
            assert check(store) == [] if objects(store) else True  # no half object under a name
            published.run(project, *command)
            assert has_all(store, project)


@pytest.mark.parametrize("kill", [True, False], ids=["killed", "connection lost"])
def test_a_pull_by_ssh_that_was_stopped_is_completed_by_the_next_one(
    published: Published, fault: Fault, kill: bool
) -> None:
    draw, command = random.Random(2 if kill else 3), ("dvc", "pull", "--remote", "server")
    total = traffic(published, published.clone(f"whole pull {kill}"), *command)
    for index in range(KILLS if kill else CUTS):
        with fault("`dvc pull` killed, then repeated" if kill else "SSH connection lost in `dvc pull`, then repeated"):
            clone = published.clone(f"stopped {kill} {index}")
            stop_midway(published, clone, draw.randrange(total), command, kill)
            assert not is_whole(clone)
            published.run(clone, *command)
            assert is_whole(clone)
            assert "Nothing to be done" in published.run(clone, "snakemake", "-n", "demo")


def size_of(folder: Path) -> int:
    """The bytes in all files of a folder that another process is writing to."""
    size = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # a temporary file that has just got its name
            size += path.stat().st_size if path.is_file() else 0
    return size


def kill_midway(process: subprocess.Popen[bytes], folder: Path, size: int) -> None:
    """Kills a process once it has written so much into a folder, if it lives until then."""
    before = size_of(folder)
    while process.poll() is None and size_of(folder) - before < size:
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.001)
    process.kill()
    process.wait()


def test_a_push_to_a_folder_and_a_pull_from_it_that_were_killed_are_completed(
    published: Published, fault: Fault
) -> None:
    project, draw = published.clone("padded"), random.Random(4)
    published.run(project, "dvc", "pull", "--remote", "folder")
    (project / "padding.bin").write_bytes(random.Random(5).randbytes(PADDING))
    published.run(project, "dvc", "add", "--no-relink", "padding.bin")
    padding = yaml.safe_load((project / "padding.bin.dvc").read_text())["outs"][0]["md5"]
    everything = {digest: digest for digest in [padding, *tracked(project).values()]}
    total = PADDING + sum((project / path).stat().st_size for path in tracked(project))
    for index in range(KILLS):
        place, command = published.base / f"killed-{index}", ("dvc", "push", "--remote", f"killed-{index}")
        published.run(project, "dvc", "remote", "add", "--local", f"killed-{index}", str(place))
        with fault("`dvc push` killed, then repeated"):
            kill_midway(published.start(project, *command), place, draw.randrange(total))
            assert objects(place).items() <= everything.items()
            published.run(project, *command)
            assert objects(place) == everything
        with fault("`dvc pull` killed, then repeated"):
            clone = published.clone(f"killed pull {index}")
            shutil.copy(project / "padding.bin.dvc", clone)
            shutil.copy(project / ".dvc/config.local", clone / ".dvc")
            pull = ("dvc", "pull", "--remote", f"killed-{index}")
            # Everything is written twice: into the cache and into the project.
            kill_midway(published.start(clone, *pull), clone, draw.randrange(2 * total))
            published.run(clone, *pull)
            assert is_whole(clone)
            assert md5(clone / "padding.bin") == padding
            assert "Nothing to be done" in published.run(clone, "snakemake", "-n", "demo")


@pytest.mark.parametrize("remote", REMOTES)
@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_object_of_a_remote_is_refused_named_and_replaced_after_it_was_deleted(
    published: Published, fault: Fault, remote: str, kind: str
) -> None:
    store, clone = published.store(remote), published.clone(f"{kind} {remote}")
    stored = object_of(store, published.project, MODEL)
    damage(stored, kind)
    with fault("object of a DVC remote damaged or missing"):
        assert check(store) == ([] if kind == "missing" else [str(stored.relative_to(store))])
        published.run(clone, "dvc", "fetch", "--remote", remote)  # drops it, and does not fail
        printed = published.run(clone, "dvc", "pull", "--remote", remote, expect=1)
        assert MODEL in printed.split("Checkout failed for following targets:")[1]
        assert not (clone / MODEL).exists()
        if kind != "missing":
            published.run(published.project, "dvc", "push", "--remote", remote)
            assert not has_all(store, published.project)
            stored.unlink()
        published.run(published.project, "dvc", "push", "--remote", remote)
        assert has_all(store, published.project)
        published.run(clone, "dvc", "pull", "--remote", remote)
        assert is_whole(clone)


@pytest.mark.parametrize("remote", REMOTES)
@pytest.mark.parametrize("kind", DAMAGES[:2])
def test_without_verify_a_damaged_object_of_a_remote_is_found_by_eps_resnet(
    published: Published, fault: Fault, remote: str, kind: str
) -> None:
    clone = published.clone(f"{kind} {remote} unverified")
    published.run(clone, "dvc", "remote", "modify", "--local", remote, "verify", "false")
    with fault("object of a DVC remote damaged or missing"):
        with damaged(object_of(published.store(remote), published.project, MODEL), kind):
            published.run(clone, "dvc", "pull", "--remote", remote)
        assert "up to date" in published.run(clone, "dvc", "status")
        assert f"{MODEL} was altered" in published.run(clone, "eps-resnet", "verify", expect=1)


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_object_of_the_cache_is_found_once_it_was_checked_out_and_repaired_by_a_new_pull(
    published: Published, fault: Fault, kind: str
) -> None:
    clone = published.clone(f"{kind} in the cache")
    published.run(clone, "dvc", "pull", "--remote", "folder")
    damage(object_of(clone / ".dvc/cache/files/md5", clone, MODEL), kind)
    (clone / MODEL).unlink()
    with fault("object of DVC's cache damaged or missing"):
        if kind == "missing":
            assert MODEL in published.run(clone, "dvc", "checkout", expect=255)
        else:
            published.run(clone, "dvc", "checkout")
            assert f"{MODEL} was altered" in published.run(clone, "eps-resnet", "verify", expect=1)
            published.run(clone, "dvc", "pull", "--remote", "folder")
            assert not is_whole(clone)
            (clone / MODEL).unlink()
            shutil.rmtree(clone / ".dvc/cache")
        published.run(clone, "dvc", "pull", "--remote", "folder")
        assert is_whole(clone)


def test_a_push_sends_damaged_objects_and_leaves_out_missing_ones_even_where_the_remote_verifies(
    published: Published,
) -> None:
    clone = published.clone("pushes damage")
    published.run(clone, "dvc", "pull", "--remote", "folder")
    cache = clone / ".dvc/cache/files/md5"
    cached = object_of(cache, clone, MODEL)
    for name, kind in (("damaged-push", "flipped byte"), ("incomplete-push", "missing")):
        damage(cached, kind)
        store = new_remote(published, clone, name)
        published.run(clone, "dvc", "remote", "modify", "--local", name, "verify", "true")
        printed = published.run(clone, "dvc", "push", "--remote", name)
        assert check(store) == check(cache) == ([] if kind == "missing" else [str(cached.relative_to(cache))])
        assert ("Missing cache files" in printed) is (kind == "missing")


def test_a_changed_run_is_trained_alone_and_no_other_runs_checkpoint_is_downloaded(published: Published) -> None:
    clone = published.clone("with another seed")
    registry = clone / "config/experiments.yaml"
    document = yaml.safe_load(registry.read_text())
    runs = document["runs"]
    runs["digits-8-standard-s1"] = {**runs.pop("digits-8-standard-s0"), "seed": 1}
    registry.write_text(yaml.safe_dump(document))
    published.run(clone, "eps-resnet", "generate")
    published.run(clone, "dvc", "repro", "--pull", "--allow-missing", "figure6-digits")
    assert {path.parent.name for path in clone.glob("results/*/model.safetensors")} == {"digits-8-standard-s1"}
    assert (clone / "data/digits.safetensors").exists()
    others = {digest for path, digest in tracked(published.project).items() if path.startswith("results/")}
    assert not others & set(objects(clone / ".dvc/cache/files/md5"))
