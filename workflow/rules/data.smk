localrules:
    fetch,


# The manifest is git's: update() gives it back where fetching fails.
rule fetch:
    input:
        fingerprint=layout.fingerprint("fetch", "{dataset}"),
    output:
        store=layout.store("{dataset}"),
        manifest=update(str(layout.data_manifest("{dataset}"))),
    log:
        layout.log("fetch", "{dataset}"),
    retries: 1
    conda:
        "../../environment.yml"
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        source=lambda w: f"--from={shlex.quote(SOURCES[w.dataset])}" if w.dataset in SOURCES else "",
        options=OPTIONS,
    message:
        "Fetching and verifying {wildcards.dataset}"
    shell:
        "eps-resnet fetch {wildcards.dataset} {params.source} {params.options} 2> {log:q}"
