"""Does the present code give the results of the former one? Short trainings by both, compared byte by byte.

If they are equal, and went through all that was changed, the change is added to the lineage, and results made before it
stay current. Evidence, not proof: docs/guarantees.md says what it is worth.
"""

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from eps_resnet.experiments.layout import Layout, RunFiles
from eps_resnet.experiments.registry import load
from eps_resnet.files import tensors
from eps_resnet.files.atomic import read_json
from eps_resnet.files.errors import UserError
from eps_resnet.files.machine import machine
from eps_resnet.provenance.changes import Change, changes
from eps_resnet.provenance.code import LAYERS, PACKAGE, Layer, code_digest, git, layer_digest, layer_files, modules
from eps_resnet.provenance.fingerprints import differences
from eps_resnet.provenance.lineage import Entry, append, entries

ATTESTED: tuple[Layer, ...] = ("training", "evaluation")  # tables are drawn anew in seconds
PROBES = Path("config/probes.yaml")
COMMITTED = (Path("config/experiments.yaml"), ("digits-20-standard-s0", "digits-20-epsilon_side-2p5-s0"))
INTERRUPTED, SHARED = "plain-20-epsilon_side-4p5-s1", "slices-14-epsilon_side-4p5-s1"  # by a signal; by two processes
JPEG = "jpeg"  # the data set of the probes that is made of digits
# Of metrics.json, and of what is stored beside weights: which code and which files it is about.
ABOUT = {"made_from", "fingerprint", "seal", "model_sha256", "pruned_sha256"}


@dataclass(frozen=True)
class Code:
    """One version of the package, in a folder, and where its probes' results go."""

    folder: Path
    root: Path

    @property
    def lines(self) -> Path:
        """The lines that its probes executed."""
        return self.root / "lines"


def attest(probes: Path = PROBES, is_fast: bool = False) -> list[Entry]:
    """Adds an entry to the lineage for each layer that changed since the last one, and returns them.

    Where all results here were made by the present code, nothing is to be compared: the lineage begins anew with it.
    `is_fast`: without the two committed runs. Raises UserError, and adds nothing, if the code is not committed, a byte
    differs, or the probes do not speak for a change.
    """
    before, after = entries()[-1].commits[1], _committed()
    if begun := [_begin(layer, after) for layer in ATTESTED if is_made_anew(layer, Layout())]:
        return begun
    with TemporaryDirectory() as folder:
        old, new = Code(Path(folder, "old"), Path(folder, "old-results")), Code(PACKAGE.parent, Path(folder, "results"))
        _extract(before, old.folder)
        changed = _changed_layers(old.folder)
        if not changed:
            return []
        found = {layer: changes(_former_files(layer, old.folder), layer_files(layer)) for layer in changed}
        _require_values(change for part in found.values() for change in part)
        digests = _compared(old, new, probes, is_fast)
        _require_executed([change for part in found.values() for change in part], new.lines)
    here, commits = machine(torch.device("cpu"), threads=1, processes=1), (before, after)
    made = [
        Entry(layer, then, now, commits, "probes", _places(layer), here, digests)
        for layer, (then, now) in changed.items()
    ]
    for entry in made:
        append(entry)
    return made


def is_made_anew(layer: Layer, layout: Layout) -> bool:
    """Whether all results there were made by the present code, of which the lineage says nothing yet."""
    name = {"training": "manifest.json", "evaluation": "metrics.json"}[layer]
    documents = [read_json(path) for path in layout.results.glob(f"*/{name}")]
    now = layer_digest(layer)
    is_known = any(now in (entry.before, entry.after) for entry in entries() if entry.layer == layer)
    return bool(documents) and not is_known and all(found["made_from"]["code"] == now for found in documents)


def _begin(layer: Layer, commit: str) -> Entry:
    now = layer_digest(layer)
    entry = Entry(layer, now, now, (commit, commit), "made anew", _places(layer))
    append(entry)
    return entry


def _places(layer: Layer) -> tuple[str, ...]:
    return tuple(f"{PACKAGE.name}/{place}" for place in LAYERS[layer])


def _git(*arguments: str) -> bytes:
    try:
        return git(*arguments)
    except UserError as error:
        raise UserError(f"The former code is read from git. {error}. Attest in a clone.") from None


def _committed() -> str:
    """The present commit. Raises UserError if the code in the folder is another."""
    if _git("status", "--porcelain", "--", PACKAGE.name).strip():
        raise UserError(
            f"{PACKAGE.name}/ has changes that are not committed. Commit them first: an entry names a commit."
        )
    return _git("rev-parse", "HEAD").decode().strip()


def _extract(commit: str, folder: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(_git("archive", "--format=tar", commit, PACKAGE.name))) as archive:
        archive.extractall(folder, filter="data")


def _former_files(layer: Layer, folder: Path) -> list[Path]:
    """The modules of a layer of the former code: those that the last entry is of."""
    return modules(folder / place for place in _last_entry(layer).places)


def _last_entry(layer: Layer) -> Entry:
    return [entry for entry in entries() if entry.layer == layer][-1]


def _changed_layers(former: Path) -> dict[Layer, tuple[str, str]]:
    """The layers that differ, with their digests before and after.

    Raises UserError if the former code is not the one that the lineage speaks of.
    """
    found: dict[Layer, tuple[str, str]] = {}
    for layer in ATTESTED:
        known = _last_entry(layer).after
        then = _digest(_former_files(layer, former))
        if then != known:
            raise UserError(
                f"The code of the last attested commit has another digest for {layer} ({then}) than the lineage "
                f"({known}): its folders were changed. Attest from that commit on, one change after another."
            )
        now = _digest(layer_files(layer))
        if now != then:
            found[layer] = then, now
    return found


def _digest(files: list[Path]) -> str:
    return code_digest(file.read_text(encoding="utf-8") for file in files)


def _require_values(found: Iterator[Change]) -> None:
    """Raises UserError if a constant, default, number or comparison is another one: no probe can speak for that."""
    if named := [_place(change) for change in found if change.has_other_value]:
        raise UserError(
            "A constant, a default, a number or a comparison is another than before, which may change a result in a "
            f"case that no probe meets: {', '.join(named)}. Results that depend on it must be made anew."
        )


def _place(change: Change, line: int | None = None) -> str:
    definition = change.definition
    return f"{definition.name} ({definition.file.relative_to(PACKAGE.parent)}:{line or definition.node.lineno})"


def _require_executed(found: list[Change], record: Path) -> None:
    """Raises UserError unless the probes executed each changed definition, and each new statement in it."""
    executed = set(record.read_text(encoding="utf-8").splitlines())
    missed = []
    for change in found:
        file = change.definition.file
        for statement in change.statements or change.body[:1]:
            if not any(f"{file}:{line}" in executed for line in range(statement[0], statement[1] + 1)):
                missed.append(_place(change, statement[0]))
    if missed:
        raise UserError(
            "The probes did not execute all that was changed, so they cannot speak for it:\n  "
            + "\n  ".join(missed)
            + f"\nAdd a probe to {PROBES} that does, make the change smaller, or make the results anew."
        )


# The probes


def _compared(old: Code, new: Code, probes: Path, is_fast: bool) -> dict[str, str]:
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
        command,
        cwd=PACKAGE.parent,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
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
    first = differences(then, now)[0]
    where, before, after = first.place, first.then, first.now
    if isinstance(before, list) and isinstance(after, list):
        lines = enumerate(zip_longest(before, after, fillvalue="nothing"), start=1)
        line, (before, after) = next((line, pair) for line, pair in lines if pair[0] != pair[1])
        where = f"{where}, line {line}"
    return f"{where}: {str(before)[:60]} before, {str(after)[:60]} now"
