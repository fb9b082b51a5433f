# One thread computes: results depend on the number, which is recorded in the manifest. Where images are decoded while
# training, the other cores of `threads` do that; results do not depend on how many they are.
# update(): a training that fails or is interrupted gives the former result back, and one that was finished when
# Snakemake was killed is found finished.
# exec: the training itself is what Snakemake waits for. A cluster sends SIGTERM to every process of a job; a shell around
# the training would end at once, the job with it, and the training would be killed while it saves.
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
    threads: lambda w: decoders(w.run, cards(w.run)) or 1
    resources:
        gpu=lambda w: cards(w.run),
        nodes=1,  # all of them on one machine
        mem_mb=memory("train"),
        runtime=run_time("train"),
    params:
        launch=lambda w: launch(cards(w.run)),
        options=OPTIONS,
        sharing=SHARING,
    message:
        "Training {wildcards.run}; progress in {log}"
    shell:
        "exec {params.launch} train {wildcards.run} {params.options} --threads 1 --workers {threads} --sharing {params.sharing} 2> {log:q}"
