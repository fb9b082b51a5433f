# One thread computes: results depend on the number, which is recorded in the manifest. Where images are decoded while
# training, the other cores of `threads` do that; results do not depend on how many they are.
# update(): a training that fails or is interrupted gives the former result back, and one that was finished when
# Snakemake was killed is found finished.
rule train:
    input:
        unpack(train_inputs),
    output:
        model=update(str(layout.model("{run}"))),
        history=update(str(layout.history("{run}"))),
        blocks=update(str(layout.blocks("{run}"))),
        manifest=update(str(layout.manifest("{run}"))),
    log:
        layout.log("train", "{run}"),
    benchmark:
        layout.log("train", "{run}").with_suffix(".tsv")
    priority: lambda w: WORTH[w.run]
    conda:
        "../../environment.yml"
    threads: lambda w: 8 * max(1, cards(w.run)) if decodes(w.run) else 1
    resources:
        gpu=lambda w: cards(w.run),
        mem_mb=lambda w: 16000 if recipe(w.run).device == "gpu" else 2000,
        runtime=lambda w: 10080 if recipe(w.run).device == "gpu" else 60,
    params:
        launch=lambda w: launch(cards(w.run)),
        options=OPTIONS,
        sharing=SHARING,
    message:
        "Training {wildcards.run}; progress in {log}"
    shell:
        "{params.launch} train {wildcards.run} {params.options} --threads 1 --workers {threads} --sharing {params.sharing} 2> {log:q}"
