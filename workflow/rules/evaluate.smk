rule prune:
    input:
        unpack(prune_inputs),
    output:
        layout.pruned("{run}"),
    log:
        layout.log("prune", "{run}"),
    priority: FIRST
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=memory("prune"),
        runtime=run_time("prune"),
    params:
        options=OPTIONS,
    message:
        "Pruning {wildcards.run}"
    shell:
        "eps-resnet prune {wildcards.run} {params.options} 2> {log:q}"


rule evaluate:
    input:
        unpack(evaluate_inputs),
    output:
        report(
            update(str(layout.metrics("{run}"))),
            caption="../report/metrics.rst",
            category="Metrics",
            subcategory=lambda w: experiments.datasets[experiments.runs[w.run].dataset].title,
            labels={"run": "{run}"},
        ),
    log:
        layout.log("evaluate", "{run}"),
    priority: FIRST
    conda:
        "../../environment.yml"
    threads: lambda w: decoders(w.run) or 1
    resources:
        gpu=lambda w: int(recipe(w.run).device == "gpu"),
        mem_mb=memory("evaluate"),
        runtime=run_time("evaluate"),
    params:
        options=OPTIONS,
        sharing=SHARING,
    message:
        "Evaluating {wildcards.run}"
    shell:
        "eps-resnet evaluate {wildcards.run} {params.options} --threads 1 --workers {threads} --sharing {params.sharing} 2> {log:q}"
