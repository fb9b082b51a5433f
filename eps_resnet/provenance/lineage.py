"""Which changes of the code are known to change no number: lineage.jsonl, one line for each, only ever added to.

A result counts as current if the lines lead from the code that made it to the present code. What an entry rests on is
evidence, not proof (docs/guarantees.md).
"""

import json
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from eps_resnet.files.digests import digest
from eps_resnet.files.errors import UserError
from eps_resnet.provenance.code import Layer

LINEAGE = Path(__file__).with_name("lineage.jsonl")


@dataclass(frozen=True)
class Entry:
    """One accepted change: the code of a layer before and after, and why the results of one count as the other's.

    `places`: the modules and folders that the later digest is of. `same source`: both digests are of one commit.
    `probes`: short trainings by both codes wrote the same bytes on this `machine`; `probes` has their SHA-256 by name.
    Such an entry speaks for results of that kind of device, a CPU, alone. `made anew`: numbers were changed on purpose
    and all results made again; `before` is `after`, and the next change is held against this code. `seal` covers all of
    it and the seal before.
    """

    layer: Layer
    before: str
    after: str
    commits: tuple[str, str]
    evidence: Literal["same source", "probes", "made anew"]
    places: tuple[str, ...]
    machine: dict[str, Any] | None = None
    probes: dict[str, str] | None = None
    seal: str = ""

    def sealed(self, previous: str) -> "Entry":
        """The entry with its seal, given that of the entry before it."""
        content = {name: value for name, value in asdict(self).items() if name != "seal"}
        return Entry(**content, seal=digest([previous, content]))


@cache
def entries(path: Path = LINEAGE) -> tuple[Entry, ...]:
    """All entries, oldest first. Raises UserError naming the line that was not written as it stands there."""
    found: list[Entry] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            document = json.loads(line)
            lists = {name: tuple(document[name]) for name in ("commits", "places")}
            entry = Entry(**{**document, **lists})
            is_sound = entry.sealed(found[-1].seal if found else "").seal == entry.seal
        except (ValueError, TypeError, KeyError):
            is_sound = False
        if not is_sound:
            raise UserError(
                f"{path}, line {number} was edited by hand: it does not fit its seal. `git checkout` the file; "
                "`eps-resnet attest` adds to it."
            )
        found.append(entry)
    return tuple(found)


def append(entry: Entry, path: Path = LINEAGE) -> None:
    """Adds an entry, sealed, at the end of the file."""
    known = entries(path)
    document = asdict(entry.sealed(known[-1].seal if known else ""))
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({name: value for name, value in document.items() if value not in (None, ())}) + "\n")
    entries.cache_clear()


def code_of(part: Any) -> str:
    """The digest of a result's code. Results made before there were layers name the digest of each module instead."""
    return part if isinstance(part, str) else digest(part)


def path_between(layer: Layer, then: Any, now: str, device: str = "cpu") -> tuple[Entry, ...] | None:
    """The entries that lead from the code of a result to the present one, none if it is the same; None: they do not."""
    reached: dict[str, tuple[Entry, ...]] = {code_of(then): ()}
    for entry in entries():
        speaks = entry.evidence == "same source" or device == "cpu"
        if entry.layer == layer and speaks and entry.before in reached:
            reached.setdefault(entry.after, (*reached[entry.before], entry))
    return reached.get(now)


def in_words(found: tuple[Entry, ...]) -> str:
    """Why the code of a result counts as the present one; nothing where it is the present one."""
    words = (
        entry.evidence if entry.probes is None else f"{len(entry.probes)} probes, commit {entry.commits[1][:7]}"
        for entry in found
    )
    return f"by the lineage ({'; '.join(words)})" if found else ""
