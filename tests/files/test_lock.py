"""Locks hold between users and without the file system's help, and no longer than their owner lives."""

import errno
import fcntl
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from eps_resnet.files import lock
from tests.conftest import PROJECT, run
from tests.operations.test_working_folder import running

ANOTHER_USER = 65534  # nobody
GROUP = 4242


@pytest.fixture
def common() -> Iterator[Path]:
    """A folder that a group may write, whoever may look into pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="eps-resnet-test-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def another_user() -> Iterator[None]:
    """Within, this process has the rights of another user of the same group."""
    if os.geteuid() != 0:
        pytest.skip("only root can act as another user")
    os.setegid(GROUP)
    os.seteuid(ANOTHER_USER)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


@pytest.mark.parametrize("umask", [0o002, 0o022, 0o077])
def test_a_lock_is_waited_for_and_taken_over_by_another_user_of_the_group(common: Path, umask: int) -> None:
    if os.geteuid() == 0:
        os.chown(common, 0, GROUP)
    common.chmod(0o2775)
    path, before = common / ".digits.lock", os.umask(umask)
    try:
        first = lock.claim(path)
        assert first
        lock.sign(first)
        with another_user():
            assert lock.claim(path) is None
            owner = lock.owner_of(path)
            assert owner
            assert owner.pid == os.getpid()
        first.close()  # as if it had been killed: the file stays
        with another_user(), lock.held(path, "it"):
            assert lock.claim(path) is None
    finally:
        os.umask(before)
    assert not path.exists()


def test_a_lock_file_that_another_user_may_only_read_is_locked_all_the_same(common: Path) -> None:
    common.chmod(0o1777)  # as /tmp
    path = common / "card.lock"
    path.touch(mode=0o644)
    with another_user():
        with lock.held_if_free(path) as is_held:
            assert is_held
            assert lock.claim(path) is None
        assert path.exists()  # in such a folder only its maker may remove it
    with lock.held_if_free(path) as is_held:
        assert is_held


def test_a_lock_file_may_be_written_by_all_who_may_write_in_its_folder(tmp_path: Path) -> None:
    for mode, expected in ((0o700, 0o600), (0o775, 0o664), (0o777, 0o666)):
        folder = tmp_path / oct(mode)
        folder.mkdir()
        folder.chmod(mode)
        file = lock.claim(folder / "a.lock")
        assert file
        assert stat.S_IMODE(os.fstat(file.fileno()).st_mode) == expected
        file.close()


PARENT = """
import os, signal, sys
from pathlib import Path
from eps_resnet.files import lock
with lock.held(Path(sys.argv[1]), "it"):
    if os.fork() == 0:
        print(os.getpid(), flush=True)
    signal.pause()
"""


def test_a_worker_that_outlives_its_parent_does_not_keep_the_parents_lock(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    command = [sys.executable, "-c", PARENT, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as parent:
        assert parent.stdout
        worker = int(parent.stdout.readline())
        try:
            assert lock.claim(path) is None
            parent.kill()
            parent.wait()
            os.kill(worker, 0)  # it lives
            with lock.held_if_free(path) as is_held:
                assert is_held
        finally:
            os.kill(worker, signal.SIGKILL)


class _OfChildError(Exception):
    pass


def test_a_child_that_leaves_the_block_removes_no_lock_of_its_parent(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    try:
        with lock.held(path, "it"):
            child = os.fork()
            if child == 0:
                raise _OfChildError
            os.waitpid(child, 0)
            assert path.exists()
            assert lock.claim(path) is None
    except _OfChildError:
        os._exit(0)


@pytest.fixture
def without_flock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on a file system that has no locks, and a temporary folder on one that has."""
    (tmp_path / "cluster").mkdir()
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(lock, "OWN", tmp_path / "tmp")
    return tmp_path / "cluster"


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_without_locks_of_the_file_system_processes_of_this_machine_exclude_each_other(
    without_flock: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    flock = fcntl.flock

    def refusing(file: int, how: int) -> None:
        if Path(file.name).parent == without_flock:  # type: ignore[attr-defined]
            raise OSError(number, os.strerror(number))
        flock(file, how)

    monkeypatch.setattr(fcntl, "flock", refusing)
    path = without_flock / "a.lock"
    with lock.held(path, "it"):
        printed = capsys.readouterr().err
        assert f"{path}: this file system has no locks ({os.strerror(number)})" in printed
        assert "let none on another machine work in this folder" in printed
        assert lock.claim(path) is None
        owner = lock.owner_of(path)
        assert owner
        assert owner.pid == os.getpid()
        with lock.held_if_free(without_flock / "b.lock") as is_held:
            assert is_held
    assert list(without_flock.iterdir()) == []
    with lock.held_if_free(path) as is_held:
        assert is_held


def test_other_refusals_of_the_operating_system_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(_file: object, _how: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", failing)
    with pytest.raises(OSError, match="Input/output error"):
        lock.claim(tmp_path / "a.lock")


NO_FLOCK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int flock(int fd, int how) {
    char link[64], path[4096] = "";
    const char *folder = getenv("NO_FLOCK_BELOW");
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    if (readlink(link, path, sizeof path - 1) > 0 && folder && !strncmp(path, folder, strlen(folder))) {
        errno = ENOSYS;
        return -1;
    }
    return ((int (*)(int, int))dlsym(RTLD_NEXT, "flock"))(fd, how);
}
"""


@pytest.mark.slow
def test_snakemake_and_a_fetch_work_on_a_file_system_without_locks(
    project: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("cc") is None:
        pytest.skip("no C compiler to make a file system's flock fail")
    folder = tmp_path_factory.mktemp("library")
    (folder / "no_flock.c").write_text(NO_FLOCK)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", "no_flock.so", "no_flock.c", "-ldl"], cwd=folder, check=True)
    monkeypatch.setenv("LD_PRELOAD", str(folder / "no_flock.so"))
    monkeypatch.setenv("NO_FLOCK_BELOW", str(project))
    command = ("snakemake", "--cores", "1", "results/digits-8-standard-s0/model.safetensors")
    with running(project, *command, until="Training digits-8") as first:
        assert f"process {first.pid} on" in run(project, *command, expect=1)
    printed = run(project, "eps-resnet", "unlock")
    assert f"Released the lock of process {first.pid}" in printed
    assert "no locks (Function not implemented)" in printed
    assert "Traceback" not in run(project, *command)
