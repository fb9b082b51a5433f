localrules:
    figure,


rule figure:
    input:
        lambda w: awaited(eps.drawing(w.figure)),
    output:
        csv=report(
            layout.tables("{figure}") / "table.csv",
            caption="../report/table.rst",
            category="Tables",
            subcategory=lambda w: eps.about(w.figure)["dataset"],
            labels={"figure": "{figure}"},  # one: of several, the report may make switches that lead nowhere
        ),
        svg=report(
            layout.tables("{figure}") / "figure.svg",
            caption="../report/figure.rst",
            category="Figures",
            subcategory=lambda w: eps.about(w.figure)["dataset"],
            labels={"figure": "{figure}"},
        ),
        markdown=layout.tables("{figure}") / "table.md",
        png=layout.tables("{figure}") / "figure.png",
        pdf=layout.tables("{figure}") / "figure.pdf",
        summary=layout.summary("{figure}"),
        manifest=layout.table_manifest("{figure}"),
    log:
        layout.log("figures", "{figure}"),
    retries: 0
    conda:
        "../../environment.yml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        options=eps.options,
        about=lambda w: eps.about(w.figure),
    message:
        "Writing the table of {wildcards.figure} and drawing it"
    shell:
        "eps-resnet draw {wildcards.figure} {params.options} 2> {log:q}"


# A target of its own for each figure: `snakemake --cores 8 figure6-cifar10`.
for figure_name in eps.registry.figures:

    rule:
        name:
            figure_name
        input:
            layout.figure_files(figure_name),


# And one for each data set: `snakemake --cores 2 cifar10-cpu`.
for dataset_name in eps.registry.datasets:

    rule:
        name:
            dataset_name
        input:
            eps.targets([dataset_name]),
