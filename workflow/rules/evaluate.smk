# An evaluation prunes by itself, as importing torch takes longer than pruning. This rule makes a pruned network that is
# asked for by name: where it is missing and the metrics are current, none is evaluated for it.
# Some pruned networks are git's, and so are all metrics: update() gives them back where the step fails.
rule prune:
    input:
        lambda w: awaited(eps.pruning(w.run)),
    output:
        update(str(layout.run("{run}").pruned)),
    log:
        layout.log("prune", "{run}"),
    priority: eps.first
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=lambda w, attempt: eps.megabytes("prune", w.run, attempt),
        runtime=lambda w, attempt: eps.minutes("prune", w.run, attempt),
    params:
        options=eps.options,
    message:
        "Pruning {wildcards.run}"
    shell:
        "eps-resnet prune {wildcards.run} {params.options} 2> {log:q}"


rule evaluate:
    input:
        lambda w: awaited(eps.evaluation(w.run)),
    output:
        report(
            update(str(layout.run("{run}").metrics)),
            caption="../report/metrics.rst",
            category="Metrics",
            subcategory=lambda w: eps.title(w.run),
            labels={"run": "{run}"},
        ),
    log:
        layout.log("evaluate", "{run}"),
    priority: eps.first
    conda:
        "../../environment.yml"
    threads: lambda w: eps.decoders(w.run) or 1
    resources:
        gpu=lambda w: int(eps.needs_card(w.run)),
        mem_mb=lambda w, attempt: eps.megabytes("evaluate", w.run, attempt),
        runtime=lambda w, attempt: eps.minutes("evaluate", w.run, attempt),
    params:
        options=eps.options,
        sharing=eps.sharing,
    message:
        "Pruning and evaluating {wildcards.run}"
    shell:
        "eps-resnet evaluate {wildcards.run} {params.options} --threads 1 --workers {threads} --sharing {params.sharing} 2> {log:q}"
