"""Does the present code give the results of the former one? Short trainings by both, compared byte by byte.

If they are equal, and went through all that was changed, the change is added to the lineage, and results made before it
stay current. Evidence, not proof: docs/guarantees.md says what it is worth.
"""

import io
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from eps_resnet.experiments.layout import Layout
from eps_resnet.files.atomic import read_json
from eps_resnet.files.errors import UserError
from eps_resnet.files.machine import machine
from eps_resnet.operations.probes import PROBES, Code, compared
from eps_resnet.provenance.changes import Change, changes
from eps_resnet.provenance.code import LAYERS, PACKAGE, Layer, code_digest, git, layer_digest, layer_files, modules
from eps_resnet.provenance.lineage import Entry, append, entries

ATTESTED: tuple[Layer, ...] = ("training", "evaluation")  # tables are drawn anew in seconds


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
        pairs = ((_former_files(layer, old.folder), layer_files(layer)) for layer in changed)
        found = [change for then, now in pairs for change in changes(then, now)]
        _require_values(found)
        digests = compared(old, new, probes, is_fast)
        _require_executed(found, new.lines)
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


def _require_values(found: list[Change]) -> None:
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
