localrules:
    fetch,


# The manifest is git's: update() gives it back where fetching fails. Downloads go on by themselves where they broke off,
# so that what fails here is a mistake, such as a wrong path: said once, whatever a cluster's profile says of retries.
rule fetch:
    input:
        lambda w: awaited(eps.fetching(w.dataset)),
    output:
        store=layout.store("{dataset}"),
        manifest=update(str(layout.data_manifest("{dataset}"))),
    log:
        layout.log("fetch", "{dataset}"),
    retries: 0
    conda:
        "../../environment.yml"
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        source=lambda w: eps.source(w.dataset),
        options=eps.options,
    message:
        "Fetching and verifying {wildcards.dataset}"
    shell:
        "eps-resnet fetch {wildcards.dataset} {params.source} {params.options} 2> {log:q}"
