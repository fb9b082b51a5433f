localrules:
    table,
    draw,


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
        "eps-resnet table {wildcards.figure} {params.options} 2> {log:q}"


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
        "eps-resnet draw {wildcards.figure} {params.options} 2> {log:q}"


# A target of its own for each figure: `snakemake --cores 8 figure6-cifar10`.
for figure_name in experiments.figures:

    rule:
        name:
            figure_name
        input:
            layout.figure_files(figure_name),


# And one for each data set: `snakemake --cores 2 cifar10-cpu`.
for dataset_name in experiments.datasets:

    rule:
        name:
            dataset_name
        input:
            targets([dataset_name]),
