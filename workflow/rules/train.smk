# One thread: results depend on the number, which is recorded in the manifest.
rule train:
    input:
        unpack(train_inputs),
    output:
        model=layout.model("{run}"),
        history=layout.history("{run}"),
        blocks=layout.blocks("{run}"),
        manifest=layout.manifest("{run}"),
    log:
        layout.log("train", "{run}"),
    benchmark:
        layout.log("train", "{run}").with_suffix(".tsv")
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        gpu=lambda w: int(recipe(w.run).device == "gpu"),
        mem_mb=lambda w: 16000 if recipe(w.run).device == "gpu" else 2000,
        runtime=lambda w: 10080 if recipe(w.run).device == "gpu" else 60,
    params:
        options=OPTIONS,
    message:
        "Training {wildcards.run}; progress in {log}"
    shell:
        "eps-resnet train {wildcards.run} {params.options} --threads {threads} 2> {log}"
