"""Work done by worker processes: in order, handed over whole, and ended whatever happens to a worker."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest
import torch
from torch import Tensor

from eps_resnet.data import workers
from eps_resnet.data.workers import in_workers
from eps_resnet.files import interruption
from eps_resnet.files.errors import UserError
from tests.conftest import PROJECT

LIMIT = 100  # seconds after which a process counts as one that never ends


def picture(step: int) -> Tensor:
    """As large as a small mini-batch, and another one in each step."""
    return torch.full((4, 3, 64, 64), step % 256, dtype=torch.uint8)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_work_comes_back_in_order_whatever_the_number_of_workers(count: int) -> None:
    results = list(in_workers(picture, range(3, 20), count))
    assert len(results) == 17
    assert all(torch.equal(result, picture(step)) for step, result in enumerate(results, start=3))


def test_workers_beyond_the_steps_and_no_steps_at_all_are_no_error() -> None:
    assert [result.tolist() for result in in_workers(lambda step: torch.tensor([step]), range(2), 5)] == [[0], [1]]
    assert list(in_workers(picture, range(0), 2)) == []


@pytest.mark.parametrize(
    "tensor",
    [
        torch.empty(0, dtype=torch.int64),
        torch.empty(0, 3, dtype=torch.float32),
        torch.tensor(2.5, dtype=torch.float64),
        torch.arange(12).reshape(3, 4).T,
    ],
)
def test_a_tensor_arrives_as_it_was_made(tensor: Tensor) -> None:
    (result,) = in_workers(lambda _: tensor, range(1), 1)
    assert result.dtype == tensor.dtype
    assert torch.equal(result, tensor)


def test_a_workers_refusal_is_raised_as_it_is() -> None:
    def work(step: int) -> Tensor:
        if step == 3:
            raise UserError("Image train/\udcff is corrupt.")
        return picture(step)

    results = in_workers(work, range(8), 2)
    assert [int(next(results)[0, 0, 0, 0]) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(UserError, match=r"^Image train/\udcff is corrupt\.$"):
        next(results)


@pytest.mark.parametrize("error", [ValueError("x" * 10**6), MemoryError("x"), KeyboardInterrupt("x"), SystemExit("x")])
def test_any_other_error_ends_with_a_sentence_that_says_what_and_where(error: BaseException) -> None:
    def work(_: int) -> Tensor:
        raise error

    words = rf"^Process \d+, .* failed in step 0: {type(error).__name__}: x+ \(test_workers\.py, line \d+\)\. .*again"
    with pytest.raises(UserError, match=words.replace("again", r"same command goes on\.$")):
        list(in_workers(work, range(4), 2))


@pytest.mark.parametrize(
    ("end", "words"),
    [
        (lambda: os.kill(os.getpid(), signal.SIGKILL), r"was killed \(SIGKILL\), as the kernel does where memory runs"),
        (lambda: os.kill(os.getpid(), signal.SIGXCPU), r"was ended by SIGXCPU\."),
        (lambda: os._exit(9), r"ended with exit code 9\."),
    ],
)
def test_the_end_of_a_worker_is_noticed_and_told(end: Callable[[], None], words: str) -> None:
    def work(step: int) -> Tensor:
        if step == 4:
            end()
        return picture(step)

    with pytest.raises(UserError, match=rf"^Process \d+, which prepares images, {words}"):
        list(in_workers(work, range(100), 2))


def test_the_end_of_a_worker_is_noticed_where_the_kernel_keeps_no_codes() -> None:
    former = signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # as some programs leave it to what they start
    try:
        with pytest.raises(UserError, match="ended with exit code 0"):
            list(in_workers(lambda _: os._exit(9), range(4), 2))
        assert len(list(in_workers(picture, range(4), 2))) == 4
    finally:
        signal.signal(signal.SIGCHLD, former)


def test_a_worker_that_hangs_is_given_up_and_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(workers, "PATIENCE", 1)
    silent, _ = os.pipe()
    file = tmp_path / "process"

    def work(_: int) -> Tensor:
        file.write_text(str(os.getpid()))
        os.read(silent, 1)
        return picture(0)

    with pytest.raises(UserError, match=r"did not end step 0 in 1 seconds.*may not answer"):
        list(in_workers(work, range(1), 1))
    assert not Path("/proc", file.read_text()).exists()


def test_the_workers_end_where_their_results_are_no_longer_wanted() -> None:
    results = in_workers(lambda _: torch.tensor(os.getpid()), range(100), 2)
    processes = {int(next(results)) for _ in range(2)}
    results.close()
    assert len(processes) == 2
    assert not any(Path("/proc", str(process)).exists() for process in processes)


def test_no_more_is_made_ahead_than_is_wanted(tmp_path: Path) -> None:
    def work(step: int) -> Tensor:
        (tmp_path / str(step)).touch()
        return picture(step)

    results = in_workers(work, range(100), 1)
    for step in range(3):
        next(results)
        assert not (tmp_path / str(step + 1 + workers.AHEAD)).exists()
    results.close()


def test_a_long_name_of_the_temporary_folder_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / ("d" * 90)  # too long for the address of a socket
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setenv("TMPDIR", str(folder))
    assert len(list(in_workers(picture, range(8), 2))) == 8


def test_workers_go_on_where_a_cluster_asks_all_processes_to_stop_and_pass_it_on() -> None:
    def work(step: int) -> Tensor:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        return picture(step)

    with interruption.deferred():
        assert len(list(in_workers(work, range(7), 2))) == 7
        assert interruption.received() == signal.SIGTERM


# Whole processes: that they end is the point


def ended(program: str, before: str = "") -> tuple[int, str]:
    """Exit code and standard error of a program that ends as the command line does."""
    source = dedent(f"""
        {before}
        from eps_resnet import cli
        from eps_resnet.data.workers import in_workers
        from tests.data.test_workers import picture
        def program():
        """) + "".join(f"    {line}\n" for line in dedent(program).strip().splitlines())
    process = subprocess.run(
        [sys.executable, "-c", f"{source}\ncli.app = program\ncli.main()"],
        cwd=PROJECT,
        timeout=LIMIT,
        capture_output=True,
        text=True,
        check=False,
    )
    return process.returncode, process.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("RuntimeError('cuDNN error')", "RuntimeError: cuDNN error\n"),
        ("torch.OutOfMemoryError('CUDA out of memory.')", "eps-resnet: CUDA out of memory. The same"),
        ("OSError(28, 'No space left on device')", "eps-resnet: A file cannot be written"),
    ],
)
def test_the_main_process_ends_after_an_error_of_its_own_though_workers_live(error: str, words: str) -> None:
    code, output = ended(f"import torch\nfor _ in in_workers(picture, range(10**6), 2): raise {error}")
    assert code == 1
    assert words in output


@pytest.mark.slow
def test_too_few_descriptors_for_what_a_worker_made_end_with_a_sentence() -> None:
    program = """
        import os
        results = in_workers(picture, range(100), 1)
        next(results)
        while True:  # until no number is left
            try: os.dup(0)
            except OSError: break
        next(results)
    """
    code, output = ended(program, before="import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))")
    assert code == 1
    assert "cannot be taken over: Too many open files." in output


@pytest.mark.slow
def test_a_worker_that_hangs_dies_with_a_main_process_that_is_killed(tmp_path: Path) -> None:
    pipe = tmp_path / "images.JPEG"
    os.mkfifo(pipe)
    program = f"""
        import os
        from eps_resnet.data.workers import in_workers
        def work(step):
            print(os.getpid(), flush=True)
            open({str(pipe)!r}).read()
        next(in_workers(work, range(1), 1))
    """
    command = [sys.executable, "-c", dedent(program)]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as main:
        assert main.stdout is not None
        worker = os.pidfd_open(int(main.stdout.readline()))
        main.kill()
    assert select.select([worker], [], [], LIMIT)[0] == [worker]  # readable when it has ended
    os.close(worker)
