"""Every experiment of the paper: fetch -> train -> evaluate -> figure.

    snakemake --cores 8 all      every experiment of the paper (needs a GPU)
    snakemake --cores 2 demo     the digits runs, minutes on a laptop
    snakemake -n --quiet rules figure6-cifar10
                                 how many of which steps one figure needs; eps-resnet plan says what they cost

Which runs there are: config/experiments.yaml. How rules decide what is current: docs/workflow.md.
"""

from snakemake.utils import min_version

min_version("9.27")


# `--resources gpu=N` are the cards of one machine: where a cluster runs the jobs, it counts its cards itself.
resource_scopes:
    gpu="local",


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"


rule all:
    input:
        eps.targets(eps.paper),


rule demo:
    input:
        eps.targets(eps.demo),


include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/figures.smk"


onstart:
    refuse()


# The report shows what there is, so it follows every call, also one in which something failed.
onsuccess:
    shell("eps-resnet report {eps.options}")


onerror:
    shell("eps-resnet report {eps.options}")
