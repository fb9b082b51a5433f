"""How the report writes numbers: fractions as per cent, as many decimals as their uncertainty allows."""

import math

# Of published.csv: factor, and what follows the number.
UNITS = {"fraction": (100, "%"), "MiB": (1, " MiB"), "h": (1, " h")}


def published(value: float, uncertainty: float, unit: str) -> str:
    """A published number with its uncertainty, such as "5.2397 ± 0.0024%"; its decimals are the uncertainty's."""
    factor, suffix = UNITS[unit]
    decimals = _decimals(uncertainty * factor)
    return f"{value * factor:.{decimals}f} ± {uncertainty * factor:.{decimals}f}{suffix}"


def counted(value: float, uncertainty: float, images: int) -> tuple[str, str] | None:
    """An error as the paper has it, and the wrong images of all that it is; None if no count is near the number read.

    What was read off a drawing is 5.2397 %; what the authors measured is 524 of 10,000, 5.24 %.
    """
    wrong = round(value * images)
    if abs(wrong / images - value) > uncertainty or uncertainty >= 1 / images:
        return None
    return f"{wrong / images:.2%}", f"{wrong:,} of {images:,}"


def amount(value: float, unit: str) -> str:
    """A number of ours, with two decimals, in the unit's usual form."""
    factor, suffix = UNITS[unit]
    return f"{value * factor:.2f}{suffix}"


def _decimals(uncertainty: float) -> int:
    """Decimals that show the uncertainty's first two digits."""
    return max(0, 1 - math.floor(math.log10(uncertainty))) if uncertainty > 0 else 2


def duration(seconds: float) -> str:
    """Seconds as "45 s", "1 min 14 s" or "3 h 20 min"."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
