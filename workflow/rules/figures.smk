localrules:
    table,
    draw,


def described(stage):
    """How Snakemake's report files and captions what a rule of a figure makes."""
    return {
        "caption": f"../report/{stage}.rst",
        "subcategory": lambda w: about(w)["dataset"],
        "labels": {"figure": "{figure}"},  # one: of several, the report may make switches that lead nowhere
    }


def about(w):
    """What captions say of a figure."""
    figure, runs = experiments.figures[w.figure], experiments.runs_of(w.figure)
    configurations = [run.model_copy(update={"seed": 0}) for run in runs.values()]
    return {
        "number": figure.figure,
        "dataset": experiments.datasets[figure.dataset].title,
        "remark": experiments.datasets[figure.dataset].remark,
        "runs": list(runs),
        "seeds": max(map(configurations.count, configurations)),
    }


rule table:
    input:
        unpack(table_inputs),
    output:
        csv=report(layout.tables("{figure}") / "table.csv", category="Tables", **described("table")),
        markdown=layout.tables("{figure}") / "table.md",
    log:
        layout.log("table", "{figure}"),
    conda:
        "../../environment.yml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        options=OPTIONS,
        about=about,
    message:
        "Writing the table of {wildcards.figure}"
    shell:
        "eps-resnet table {wildcards.figure} {params.options} 2> {log}"


rule draw:
    input:
        unpack(draw_inputs),
    output:
        svg=report(layout.tables("{figure}") / "figure.svg", category="Figures", **described("figure")),
        png=layout.tables("{figure}") / "figure.png",
        manifest=layout.table_manifest("{figure}"),
    log:
        layout.log("draw", "{figure}"),
    conda:
        "../../environment.yml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        options=OPTIONS,
        about=about,
    message:
        "Drawing {wildcards.figure}"
    shell:
        "eps-resnet draw {wildcards.figure} {params.options} 2> {log}"


# A target of its own for each figure: `snakemake --cores 8 figure6-cifar10`.
for figure_name in experiments.figures:

    rule:
        name:
            figure_name
        input:
            layout.figure_files(figure_name),
