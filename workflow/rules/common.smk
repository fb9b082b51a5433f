import sys
from functools import partial
from pathlib import Path

from snakemake.exceptions import WorkflowError

from eps_resnet import workflow as steps
from eps_resnet.files.errors import UserError, explained
from eps_resnet.cluster import pods
from eps_resnet.operations import working_folder

shell.prefix(steps.shell_prefix())


def checked(question, *details):
    """The answer; what is refused ends Snakemake with its reason, and no traceback."""
    try:
        return question(*details)
    except (UserError, OSError) as error:
        raise WorkflowError(explained(error) if isinstance(error, OSError) else str(error)) from None


eps = checked(steps.Workflow.of, config, workflow.config_settings.config_args)
layout = eps.layout


wildcard_constraints:
    run="|".join(eps.registry.runs),
    dataset="|".join(eps.registry.datasets),
    figure="|".join(eps.registry.figures),


def awaited(step):
    """What must be made before a step; one that is not current is due, whatever times files have (docs/workflow.md)."""
    if workflow.is_main_process and not step.is_current:
        workflow.dag.forcefiles.update(map(str, step.outputs))
    return step.awaits


def refuse():
    """Stops before anything is fetched, trained or submitted that could not end well."""
    checked(steps.refuse_arrays, workflow.executor_settings)
    due = [(job.rule.name, job.wildcards) for job in workflow.dag.needrun_jobs()]
    datasets = [wildcards.dataset for rule, wildcards in due if rule == "fetch"]
    checked(eps.refuse_missing_sources, datasets)
    if workflow.local_exec:
        checked(eps.refuse_without_gpu, [wildcards.run for rule, wildcards in due if rule == "train"], datasets)
    else:
        checked(steps.refuse_what_a_clusters_shell_misreads, workflow.config_settings.config_args)


if workflow.is_main_process:
    pods.share_volumes(layout.root)
    if "--unlock" in sys.argv:  # of its actions Snakemake tells a Snakefile nothing
        checked(working_folder.require_no_owner)
    elif (workflow.resource_settings.cores or workflow.resource_settings.nodes) and not (
        workflow.output_settings.dryrun or steps.LOOKING & set(sys.argv)
    ):
        checked(working_folder.claim)
    checked(eps.look)
