# One thread computes: results depend on the number, which is recorded in the manifest. Where images are decoded while
# training, the other cores of `threads` do that; results do not depend on how many they are.
# update(): a training that fails or is interrupted gives the former result back, and one that was finished when
# Snakemake was killed is found finished.
# exec: the training itself is what Snakemake waits for. A cluster sends SIGTERM to every process of a job; a shell around
# the training would end at once, the job with it, and the training would be killed while it saves.
rule train:
    input:
        lambda w: awaited(eps.training(w.run)),
    output:
        model=update(str(layout.run("{run}").model)),
        history=update(str(layout.run("{run}").history)),
        blocks=update(str(layout.run("{run}").blocks)),
        manifest=update(str(layout.run("{run}").manifest)),
    log:
        layout.log("train", "{run}"),
    benchmark:
        layout.log("train", "{run}").with_suffix(".tsv")
    priority: lambda w: eps.worth[w.run]
    conda:
        "../../environment.yml"
    threads: lambda w: eps.decoders(w.run, eps.cards(w.run)) or 1
    resources:
        gpu=lambda w: eps.cards(w.run),
        nodes=1,  # all of them on one machine
        mem_mb=lambda w, attempt: eps.megabytes("train", w.run, attempt),
        runtime=lambda w, attempt: eps.minutes("train", w.run, attempt),
    params:
        launch=lambda w: eps.launch(w.run),
        options=eps.options,
        sharing=eps.sharing,
    message:
        "Training {wildcards.run}; progress in {log}"
    shell:
        "exec {params.launch} train {wildcards.run} {params.options} --threads 1 --workers {threads} --sharing {params.sharing} 2> {log:q}"
