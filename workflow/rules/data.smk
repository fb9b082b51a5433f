localrules:
    fetch,


rule fetch:
    output:
        store=layout.store("{dataset}"),
        manifest=layout.data_manifest("{dataset}"),
    log:
        layout.log("fetch", "{dataset}"),
    retries: 1
    conda:
        "../../environment.yml"
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        source=lambda w: f"--from {config[w.dataset]}" if w.dataset in config else "",
        options=OPTIONS,
    message:
        "Fetching and verifying {wildcards.dataset}"
    shell:
        "eps-resnet fetch {wildcards.dataset} {params.source} {params.options} 2> {log}"
