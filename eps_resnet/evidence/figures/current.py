"""What a figure's tables and drawings are made from, and whether they are current."""

from pathlib import Path
from typing import Any

from eps_resnet.evidence.published import published_csv, published_pattern_csv
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.models import OWN_FIGURES
from eps_resnet.experiments.registry import Registry
from eps_resnet.files.atomic import read_json
from eps_resnet.files.digests import digest, sha256
from eps_resnet.provenance.code import layer_digest
from eps_resnet.provenance.state import is_current, is_evaluated, state

TABLE_KEYS = (
    "title",
    "published_name",
    "remark",
    "reduced",
    "variants",
)  # of a data set, that tables and drawings show


def table_parts(registry: Registry, layout: Layout, name: str) -> dict[str, Any]:
    """What a figure's tables and drawings depend on: its selection, its code, and the results it shows."""
    figure = registry.figure(name)
    data = registry.datasets[figure.dataset]
    results = {
        key: [sha256(path) if path.exists() else None for path in result_files(layout, figure.figure, key)]
        for key in registry.runs_of(name)
    }
    return {
        "figure": figure.model_dump(mode="json"),
        "data": data.model_dump(mode="json", include=set(TABLE_KEYS)),
        "recipe": data.recipe.model_dump(mode="json") if data.reduced else None,
        "decay": data.recipe.weight_decay,
        "images": read_json(layout.data_manifest(figure.dataset)),
        "results": results,
        "states": {key: state(registry.experiment(key, layout)) for key in results},
        "published": [sha256(path) for path in published_files(figure.figure)],
        "code": layer_digest("tables", figure.figure),
    }


def table_fingerprint(registry: Registry, layout: Layout, name: str) -> str:
    """Fingerprint of a figure's tables and drawings."""
    return digest(table_parts(registry, layout, name))


def is_drawn(registry: Registry, layout: Layout, name: str) -> bool:
    """Whether a figure's tables show the present results of its runs, all of which are done."""
    manifest = read_json(layout.table_manifest(name))
    is_of_these = is_current(manifest, table_parts(registry, layout, name), "tables")
    return is_of_these and all(is_evaluated(registry.experiment(key, layout)) for key in registry.runs_of(name))


def result_files(layout: Layout, figure: str, key: str) -> list[Path]:
    """The files of a run that a figure reads."""
    files = layout.run(key)
    curves = {"5": [files.blocks], "9": [files.history], "life": [files.blocks, files.history]}
    return [files.metrics, *curves.get(figure, [])]


def published_files(figure: str) -> list[Path]:
    """The published data that a figure reads; there are none of one that the paper has not."""
    if figure in OWN_FIGURES:
        return []
    return [published_csv(), *([published_pattern_csv()] if figure == "1" else [])]
