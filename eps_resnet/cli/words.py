"""How commands word what they print: sentences as lists, runs that differ in their seed, counts, numbers, shares."""

import re
from collections.abc import Iterable, Sequence


def sentences(words: str) -> list[str]:
    """Evidence as a list."""
    return re.split(r"\. (?=[A-Z])", words)


def clauses(words: str) -> list[str]:
    """The same, in smaller parts."""
    return [clause for sentence in sentences(words) for clause in sentence.split("; ")]


def seeds_together(keys: Iterable[str]) -> list[str]:
    """Runs, those that differ in their seed alone as one: `digits-20-standard-s0 to s4`."""
    seeds: dict[str, list[int]] = {}
    for key in keys:
        name, _, seed = key.rpartition("-s")
        seeds.setdefault(name, []).append(int(seed))
    return [f"{name}-{_span(sorted(numbers))}" for name, numbers in seeds.items()]


def _span(seeds: Sequence[int]) -> str:
    if len(seeds) > 1 and seeds[-1] - seeds[0] == len(seeds) - 1:
        return f"s{seeds[0]} to s{seeds[-1]}"
    return ", ".join(f"s{seed}" for seed in seeds)


def plural(count: int, thing: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{count} {thing}{'' if count == 1 else 's'}"


def number(value: float | None) -> str:
    """Five digits of a number, or a dash."""
    return "–" if value is None else f"{value:.5g}"


def percent(value: float | None) -> str:
    """A fraction in per cent, or a dash."""
    return "–" if value is None else f"{value:.2%}"
