def evaluation_inputs(wildcards, files):
    run = wildcards.run
    is_current = provenance.is_evaluated(experiments, layout, run)
    return {
        "fingerprint": fingerprint("evaluate", run, is_current),
        "files": required(files, is_current),
    }


def prune_inputs(wildcards):
    return evaluation_inputs(wildcards, [layout.model(wildcards.run)])


def evaluate_inputs(wildcards):
    run = wildcards.run
    dataset = experiments.runs[run].dataset
    networks = [layout.model(run), layout.pruned(run), layout.history(run)]
    data = [layout.store(dataset), layout.data_manifest(dataset)]
    return evaluation_inputs(wildcards, networks + data)


rule prune:
    input:
        unpack(prune_inputs),
    output:
        layout.pruned("{run}"),
    log:
        layout.log("prune", "{run}"),
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        options=OPTIONS,
    message:
        "Pruning {wildcards.run}"
    shell:
        "eps-resnet prune {wildcards.run} {params.options} 2> {log}"


rule evaluate:
    input:
        unpack(evaluate_inputs),
    output:
        layout.metrics("{run}"),
    log:
        layout.log("evaluate", "{run}"),
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        options=OPTIONS,
    message:
        "Evaluating {wildcards.run}"
    shell:
        "eps-resnet evaluate {wildcards.run} {params.options} --threads {threads} 2> {log}"
