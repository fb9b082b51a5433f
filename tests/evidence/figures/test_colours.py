"""Drawings have the colours of one module, each of which can be told from the page's ground, light or dark."""

import re

import pytest
from matplotlib.colors import to_rgb

from eps_resnet.evidence.figures import colours
from tests.conftest import PROJECT

ALL = {name: value for name, value in vars(colours).items() if name.isupper() and name != "DARK"}
ON_DARK = "#1a1e24"  # a drawing's ground on the dark page
LEAST = 3.0  # WCAG 2.1, 1.4.11: contrast of graphical objects
BACKGROUNDS = {"GROUND", "GRID", "DISCARDED"}  # need none
FAINT = {"APART", "EDGE", "BY_BLOCKS"}  # beside what is to be read; told by their marks as well


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.1)."""
    parts = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in to_rgb(colour)]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("name", sorted(ALL.keys() - BACKGROUNDS))
def test_a_colour_can_be_told_from_either_ground(name: str) -> None:
    least = 2.0 if name in FAINT else LEAST
    assert contrast(ALL[name], colours.GROUND) > least
    assert contrast(colours.DARK.get(ALL[name], ALL[name]), ON_DARK) > least


def test_no_drawing_has_a_colour_of_its_own() -> None:
    for path in sorted((PROJECT / "eps_resnet/evidence").rglob("*.py")):
        if path.name != "colours.py":
            found = re.findall(r"\"(?:#[0-9a-fA-F]{3,8}|black|white|gr[ae]y|red|green|blue)\"", path.read_text("utf-8"))
            assert not found, f"{path}: {found}"
