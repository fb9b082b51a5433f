"""Short trainings by two versions of the code, for `eps-resnet attest`: started, interrupted, compared byte by byte."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch

from eps_resnet.experiments.layout import Layout, RunFiles
from eps_resnet.experiments.registry import load
from eps_resnet.files import tensors
from eps_resnet.files.errors import UserError
from eps_resnet.provenance.code import PACKAGE
from eps_resnet.provenance.fingerprints import Difference, differences
from eps_resnet.provenance.records import ABOUT

PROBES = Path("config/probes.yaml")
COMMITTED = (Path("config/experiments.yaml"), ("digits-20-standard-s0", "digits-20-epsilon_side-2p5-s0"))
INTERRUPTED, SHARED = "plain-20-epsilon_side-4p5-s1", "slices-14-epsilon_side-6p0-s1"  # by a signal; by two processes
JPEG = "jpeg"  # the data set of the probes that is made of digits


@dataclass(frozen=True)
class Code:
    """One version of the package, in a folder, and where its probes' results go."""

    folder: Path
    root: Path

    @property
    def lines(self) -> Path:
        """The lines that its probes executed."""
        return self.root / "lines"


def compared(old: Code, new: Code, probes: Path, is_fast: bool) -> dict[str, str]:
    """The SHA-256 of what each probe wrote, by its name. Raises UserError naming the first difference."""
    with ThreadPoolExecutor(2) as both:
        for done in [both.submit(_run_all, code, probes.resolve(), is_fast) for code in (new, old)]:
            done.result()
    digests = {}
    for name in sorted(path.name for path in (new.root / "results").iterdir()):
        then, now = (_content(Layout(code.root).run(name)) for code in (old, new))
        if then != now:
            raise UserError(f"The results of probe {name} are not the same: {_first_difference(then, now)}")
        digests[name] = hashlib.sha256(json.dumps(now, sort_keys=True).encode()).hexdigest()
    return digests


def _run_all(code: Code, probes: Path, is_fast: bool) -> None:
    """Fetches, trains, prunes and evaluates all probes by one version of the code."""
    registry = load(probes)
    options = ["--root", str(code.root), "--registry", str(probes)]
    code.root.mkdir(parents=True)
    jpeg = [(JPEG, "--from", str(_made_of_digits(code.root / "digits")))] if JPEG in registry.datasets else []
    data = [*jpeg, *((name,) for name in registry.datasets if name != JPEG)]
    special = [key for key in (INTERRUPTED, SHARED) if key in registry.runs]
    plain = [key for key in registry.runs if key not in special]
    _start(code, *([*("fetch", *words), *options] for words in data))
    _start(code, *_steps(plain, options))
    if INTERRUPTED in special:
        _interrupt(code, ["train", INTERRUPTED, *options])
    if SHARED in special:
        launcher = ["-m", f"{PACKAGE.name}.torchrun", "--standalone", "--nproc-per-node", "2"]
        _start(code, ["train", SHARED, *options], launcher=launcher)
    _start(code, *_steps(special, options))
    if not is_fast:
        file, keys = COMMITTED
        own = ["--root", str(code.root), "--registry", str(file.resolve())]
        _start(code, ["fetch", "digits", *own], *_steps(keys, own))


def _steps(keys: Iterable[str], options: list[str]) -> Iterator[list[str]]:
    return ([step, key, *options] for key in keys for step in ("train", "prune", "evaluate"))


def _command(code: Code, commands: tuple[list[str], ...], launcher: list[str]) -> tuple[list[str], dict[str, str]]:
    recorded = ["--lines", str(code.lines), str(code.folder / PACKAGE.name)] if code.folder == PACKAGE.parent else []
    words = [word for command in commands for word in ("--", *command)]
    program = [str(PACKAGE / "cli/probe.py"), *recorded, *words]
    own = {"PYTHONPATH": str(code.folder), "PYTHONSAFEPATH": "1"}  # not the modules beside probe.py
    return [sys.executable, *launcher, *program], {**os.environ, **own}


def _start(code: Code, *commands: list[str], launcher: list[str] = []) -> None:  # noqa: B006  # never changed
    if not commands:
        return
    command, environment = _command(code, commands, launcher)
    process = subprocess.run(
        command, cwd=PACKAGE.parent, env=environment, capture_output=True, encoding="utf-8", errors="replace"
    )
    if process.returncode:
        which = "present" if code.folder == PACKAGE.parent else "former"
        raise UserError(f"A probe failed by the {which} code:\n{process.stderr[-2000:]}")


def _interrupt(code: Code, command: list[str]) -> None:
    """Trains for an epoch, then asks the training to stop."""
    words, environment = _command(code, (command,), [])
    with subprocess.Popen(
        words, cwd=PACKAGE.parent, env=environment, stderr=subprocess.PIPE, encoding="utf-8", errors="replace"
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "epoch 1/" in line:
                process.send_signal(signal.SIGTERM)


def _made_of_digits(folder: Path) -> Path:
    """A data set in ImageNet's layout: digits of two classes, as JPEG files of 40 to 55 pixels, some of them grey."""
    from sklearn.datasets import load_digits
    from torchvision.io import write_jpeg

    bundle = load_digits()
    for label in (0, 1):
        images = bundle.images[bundle.target == label]
        for split, part in (("train", images[:24]), ("val", images[24:32])):
            for number, image in enumerate(part):
                path = folder / split / f"n0000000{label}" / f"{number:03d}.JPEG"
                path.parent.mkdir(parents=True, exist_ok=True)
                pixels = torch.from_numpy(image * 15).to(torch.uint8).repeat_interleave(5 + number % 2, 0)
                colour = pixels.repeat_interleave(5 + number % 3, 1)[None].expand(1 if number % 4 == 3 else 3, -1, -1)
                write_jpeg(colour.contiguous(), str(path), quality=90)
    return folder


# What they wrote


def _content(files: RunFiles) -> dict[str, Any]:
    """What the files of a run hold, but for which code and which files they are about."""
    metrics = json.loads(files.metrics.read_text(encoding="utf-8"))
    return {
        "network": _tensors(files.model),
        "pruned network": _tensors(files.pruned),
        "history.csv": files.history.read_text(encoding="utf-8").splitlines(),
        "blocks.parquet": hashlib.sha256(files.blocks.read_bytes()).hexdigest(),
        "metrics.json": _without(metrics),
    }


def _without(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in ABOUT}


def _tensors(path: Path) -> dict[str, Any]:
    """The SHA-256 of each tensor of a safetensors file, and the facts beside them."""
    found, facts = tensors.read(path, "the probe should have written it")
    digests = {name: hashlib.sha256(tensor.numpy().tobytes()).hexdigest() for name, tensor in found.items()}
    return {**digests, "facts": _without(facts)}


def _first_difference(then: dict[str, Any], now: dict[str, Any]) -> str:
    """Where two contents differ first, in words."""
    first = next(iter(differences(then, now)), Difference("a value that is null", sorted(then), sorted(now)))
    where, before, after = first.place, first.then, first.now
    if isinstance(before, list) and isinstance(after, list):
        lines = enumerate(zip_longest(before, after, fillvalue="nothing"), start=1)
        line, (before, after) = next((line, pair) for line, pair in lines if pair[0] != pair[1])
        where = f"{where}, line {line}"
    return f"{where}: {str(before)[:60]} before, {str(after)[:60]} now"
