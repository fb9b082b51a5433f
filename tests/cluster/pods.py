"""A stand-in for a Kubernetes cluster: answers as its API does, and runs pods as processes of this machine.

Jobs are checked against the API's schemas, and by two rules of the API that are in no schema. There are no nodes, no
images and no mounts: a pod's command runs in this environment, and a volume is the folder of the same path.
"""

import json
import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import kubernetes_validate
import yaml

from tests.conftest import BIN

VERSIONS = ("1.32", "1.37")  # of the API: that of the pinned client, and the latest known
Manifest = dict[str, Any]


class RefusedError(Exception):
    """What the API answers where it does not do what it is asked for."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Pod:
    """One pod's processes."""

    def __init__(self, job: Manifest, folder: Path) -> None:
        self.log = folder / f"{job['metadata']['name']}.log"
        spec = job["spec"]["template"]["spec"]
        (container,) = spec["containers"]
        directory = str(_directory(spec, folder))
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*container["command"], *container["args"]],
                cwd=directory,
                env={**os.environ, "PATH": f"{BIN}:/usr/bin:/bin", "PYTHONPATH": directory},  # the volume's package
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def code(self) -> int | None:
        """The exit code; None while the pod runs."""
        return self.process.poll()

    def kill(self) -> None:
        """Ends it without warning, as where its node is taken away."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def _directory(pod: Manifest, folder: Path) -> Path:
    """Where the pod's command starts: an empty folder, unless it is told to start on a volume that others see too."""
    (container,) = pod["containers"]
    shared = {volume["name"] for volume in pod["volumes"] if "persistentVolumeClaim" in volume}
    mounts = [Path(mount["mountPath"]) for mount in container["volumeMounts"] if mount["name"] in shared]
    wanted = Path(container["workingDir"])
    return wanted if any(wanted.is_relative_to(mount) for mount in mounts) else folder


class Cluster:
    """What there is in a cluster, and what it was asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.jobs: list[Manifest] = []  # all that were ever submitted
        self.pods: dict[str, Pod] = {}  # of the jobs that are there
        self.requests: set[tuple[str, str]] = set()  # (verb, resource) as roles name them
        self.outage = 0  # so many questions are answered by an error of the server

    def answer(self, verb: str, resource: str, name: str, query: dict[str, str], body: Manifest) -> Any:
        """What the API answers a request. Raises RefusedError."""
        verb = "list" if verb == "get" and not name else verb
        self.requests.add((verb, resource))
        if verb in ("get", "list") and self.outage:
            self.outage -= 1
            raise RefusedError(500, "etcdserver: request timed out")
        return getattr(self, f"_{verb}_{resource.replace('/', '_')}")(name=name, query=query, body=body)

    def _create_jobs(self, body: Manifest, **_: Any) -> Manifest:
        check(body)
        self.jobs.append(body)
        self.pods[body["metadata"]["name"]] = Pod(body, self.folder)
        return body

    def _get_jobs_status(self, name: str, **_: Any) -> Manifest:
        code = self._pod(name).code
        status = {"active": int(code is None), "succeeded": int(code == 0), "failed": int(code not in (None, 0))}
        return {"metadata": {"name": name}, "status": status}

    def _delete_jobs(self, name: str, **_: Any) -> Manifest:
        pod = self._pod(name)
        if pod.code is None:
            pod.kill()
        del self.pods[name]
        return {"status": "Success"}

    def _list_pods(self, query: dict[str, str], **_: Any) -> Manifest:
        name = query["labelSelector"].removeprefix("job-name=")
        if name not in self.pods:
            return {"items": []}
        code = self.pods[name].code
        state = {"running": {}} if code is None else {"terminated": {"exitCode": code % 256}}
        container = {"name": "snakemake", "image": "", "imageID": "", "ready": False, "restartCount": 0, "state": state}
        return {"items": [{"metadata": {"name": name}, "status": {"containerStatuses": [container]}}]}

    def _delete_pods(self, name: str, **_: Any) -> Manifest:
        return {"metadata": {"name": name}}

    def _get_pods_log(self, name: str, query: dict[str, str], **_: Any) -> str:
        if query.get("previous") == "True":
            raise RefusedError(400, f'previous terminated container "snakemake" in pod "{name}" not found')
        return self._pod(name).log.read_text()

    def _pod(self, name: str) -> Pod:
        if name not in self.pods:
            raise RefusedError(404, f'jobs.batch "{name}" not found')
        return self.pods[name]


def check(job: Manifest) -> None:
    """Raises RefusedError where the API would not accept this job."""
    for version in VERSIONS:
        try:
            kubernetes_validate.validate({"apiVersion": "batch/v1", "kind": "Job", **job}, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            raise RefusedError(422, f"Job: {error.message}") from None
    for container in job["spec"]["template"]["spec"]["containers"]:
        check_container(container)


def check_container(container: Manifest) -> None:
    """The API's rules that no schema holds. Raises RefusedError."""
    paths = [mount["mountPath"] for mount in container["volumeMounts"]]
    if len(set(paths)) < len(paths):
        raise RefusedError(422, "mountPath: must be unique")
    resources = container["resources"]
    for name, amount in resources["requests"].items():
        if "/" in name and resources.get("limits", {}).get(name) != amount:
            raise RefusedError(422, f"{name}: Limit must be set for non overcommitable resources")


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """A cluster that listens on this machine; `folder/kubeconfig` leads to it. Its pods end with it."""
    state = Cluster(folder)

    class Handler(BaseHTTPRequestHandler):
        def respond(self) -> None:
            url = urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else {}
            verb = {"POST": "create"}.get(self.command, self.command.lower())
            _, kind, name, part = re.fullmatch(r"/.*/namespaces/(.+?)/(.+?)(?:/(.+?)(?:/(.+))?)?", url.path).groups()
            resource = f"{kind}/{part}" if part else kind
            try:
                code, answer = 200, state.answer(verb, resource, name, dict(parse_qsl(url.query)), body)
            except RefusedError as error:
                code, answer = error.code, {"kind": "Status", "message": str(error), "code": error.code}
            content = answer if isinstance(answer, str) else json.dumps(answer)
            self.send_response(code)
            self.send_header("Content-Type", "text/plain" if isinstance(answer, str) else "application/json")
            self.end_headers()
            self.wfile.write(content.encode())

        do_GET = do_POST = do_DELETE = respond  # noqa: N815

        def log_message(self, *_: Any) -> None:
            """Prints nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    (folder / "kubeconfig").write_text(kubeconfig(f"http://127.0.0.1:{server.server_port}"))
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        for pod in state.pods.values():
            if pod.code is None:
                pod.kill()


def kubeconfig(server: str) -> str:
    """The file that tells clients of Kubernetes where a cluster is."""
    context = {"name": "test", "context": {"cluster": "test", "user": "test"}}
    document = {"clusters": [{"name": "test", "cluster": {"server": server}}], "contexts": [context]}
    return yaml.safe_dump({**document, "users": [{"name": "test", "user": {}}], "current-context": "test"})
