"""What Snakemake's plugin for Kubernetes lacks to run this workflow in pods that share a volume.

The plugin moves all files through object storage: it takes for granted that pods share none, whatever the settings say,
while trainings resume from files that no rule names (`work/`). The rest mends what would end weeks of trainings: one
failed pod, or one unanswered question to the cluster.
"""

from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from kubernetes import client
from snakemake_executor_plugin_kubernetes import Executor as PluginsExecutor
from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.registry import ExecutorPluginRegistry


def share_volumes(root: Path) -> None:
    """Makes `--executor kubernetes` run jobs in this folder, on a volume that every pod mounts.

    `root`: where results and checkpoints go, on such a volume as well.
    """
    plugin = ExecutorPluginRegistry().plugins["kubernetes"]
    plugin.executor = Executor
    plugin.common_settings = replace(plugin.common_settings, implies_no_shared_fs=False)
    Executor.folders = (Path.cwd(), root.resolve())


class Executor(PluginsExecutor):  # type: ignore[misc]  # untyped
    """The plugin's, whose pods work in the project's folder, and which outlives a failed pod and a silent cluster."""

    folders: ClassVar[tuple[Path, ...]] = ()
    _asked: tuple[SubmittedJobInfo, ...] = ()  # the jobs that the cluster was asked about last
    _has_ended = False  # the one that it is asked about now

    def __post_init__(self) -> None:
        self._require_volumes()
        super().__post_init__()
        self._use_own_apis()

    def _require_volumes(self) -> None:
        mounted = [volume.path for volume in self.workflow.executor_settings.persistent_volumes]
        for folder in self.folders:
            if not any(folder.is_relative_to(path) for path in mounted):
                raise WorkflowError(
                    f"{folder} is on no volume that the pods mount, so what they write there would be lost. Start "
                    "Snakemake in the project's folder on such a volume (docs/kubernetes.md); mounted are: "
                    f"{', '.join(map(str, mounted)) or 'none'} (--kubernetes-persistent-volumes)."
                )

    def _use_own_apis(self) -> None:
        self.kubeapi, self.batchapi = Pods(), Jobs()

    def _reauthenticate_and_retry(self, func: Any = None) -> Any:
        super()._reauthenticate_and_retry()  # makes the plugin's APIs anew
        self._use_own_apis()
        return func() if func else None

    def register_secret(self) -> None:
        """Hands the environment variables of `--envvars` to pods. The plugin's empty secret would sometimes stay."""
        if self.envvars():
            super().register_secret()

    def unregister_secret(self) -> None:
        """Removes what register_secret made."""
        if self.envvars():
            super().unregister_secret()

    async def check_active_jobs(self, active_jobs: list[SubmittedJobInfo]) -> AsyncGenerator[SubmittedJobInfo, None]:
        """Yields the jobs that still run, and those whose state the cluster did not tell, to ask again."""
        self._asked = tuple(active_jobs)
        for job in active_jobs:
            self._has_ended = False
            try:
                async for _ in super().check_active_jobs([job]):
                    pass
            except WorkflowError as error:
                self.logger.error(f"The state of job {job.external_jobid} is not known: {error}")
            if not self._has_ended:
                yield job

    def cancel_jobs(self, active_jobs: list[SubmittedJobInfo]) -> None:
        """Deletes jobs, and those that Snakemake does not list as long as it asks about them."""
        super().cancel_jobs([*active_jobs, *(job for job in self._asked if job not in active_jobs)])

    def report_job_success(self, job_info: SubmittedJobInfo) -> None:
        """Notes that the job needs no more asking."""
        self._has_ended = True
        super().report_job_success(job_info)

    def report_job_error(self, job_info: SubmittedJobInfo, **about: Any) -> None:
        """Notes that the job needs no more asking."""
        self._has_ended = True
        super().report_job_error(job_info, **about)


class Jobs(client.BatchV1Api):  # type: ignore[misc]  # untyped
    """The API of jobs."""

    def create_namespaced_job(self, namespace: str, body: client.V1Job, **options: Any) -> Any:
        """Submits a job whose pod works in this folder and has as much shared memory as it may use memory.

        A pod's own 64 MiB are too few for what processes that train together exchange between their cards (NCCL).
        """
        pod = body.spec.template.spec
        (container,) = pod.containers
        container.working_dir = str(Path.cwd())
        container.volume_mounts.append(client.V1VolumeMount(name="shm", mount_path="/dev/shm"))
        pod.volumes.append(client.V1Volume(name="shm", empty_dir=client.V1EmptyDirVolumeSource(medium="Memory")))
        return super().create_namespaced_job(namespace, body, **options)

    def read_namespaced_job_status(self, name: str, namespace: str, **options: Any) -> Any:
        """A job's state; None, which the plugin takes for a failure, where somebody deleted the job."""
        try:
            return super().read_namespaced_job_status(name, namespace, **options)
        except client.ApiException as error:
            if error.status == 404:
                return None
            raise


class Pods(client.CoreV1Api):  # type: ignore[misc]  # untyped
    """The API of pods."""

    def read_namespaced_pod_log(self, name: str, namespace: str, **options: Any) -> Any:
        """What a pod printed, or why that cannot be read (its node may be gone).

        The plugin asks for what it printed before it was restarted, which a pod of a job never is.
        """
        try:
            return super().read_namespaced_pod_log(name, namespace, **{**options, "previous": False})
        except client.ApiException as error:
            return f"What pod {name} printed cannot be read: {error.reason}"
