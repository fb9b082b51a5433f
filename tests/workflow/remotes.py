"""For tests of DVC remotes: a project that was pushed to a folder and to an SSH server, its clones, and servers.

All of them listen on 127.0.0.1. The SSH server is Debian's sshd, started for each connection, with keys and settings of
its own. Nothing of the person's own, neither ~/.ssh nor DVC's or git's settings, is read or written.
"""

import getpass
import hashlib
import os
import re
import shutil
import socket
import socketserver
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread

import pytest
import yaml

from eps_resnet.files.atomic import read_json
from eps_resnet.files.digests import sha256
from tests.conftest import BIN, PROJECT, run

SSHD = "/usr/sbin/sshd"  # started by its full path, which it asks for
PRIVILEGE_SEPARATION = Path("/run/sshd")  # an empty folder that sshd needs where root starts it
RUN = "digits-8-standard-s0"
MODEL = f"results/{RUN}/model.safetensors"
REMOTES = ("folder", "server")
GIT = str(shutil.which("git"))
CHECK = re.search(r"^find .*md5sum.*$", (PROJECT / "docs/workflow.md").read_text(), re.MULTILINE)


class Server(socketserver.ThreadingTCPServer):
    """Starts one sshd per connection and passes its bytes on; `hold` makes it stop in the middle of a transfer."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.folder = folder
        self.passed = 0
        self.limit: int | None = None
        self.is_held, self.is_cut = Event(), Event()
        for key in ("host_key", "user_key"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)]
            subprocess.run(command, check=True)
        (folder / "sshd_config").write_text(
            f"HostKey {folder}/host_key\n"
            f"AuthorizedKeysFile {folder}/user_key.pub\n"
            "AuthenticationMethods publickey\nPermitRootLogin prohibit-password\n"
            "StrictModes no\nUsePAM no\nSubsystem sftp internal-sftp\n"
        )

    @property
    def port(self) -> int:
        """The free port that was found."""
        return int(self.server_address[1])

    def hold(self, limit: int | None) -> None:
        """From now on passes so many bytes in both directions, then none, until `cut`. None: all."""
        self.passed, self.limit = 0, limit
        self.is_held.clear()
        self.is_cut.clear()

    def cut(self) -> None:
        """Closes the connection that is held."""
        self.is_cut.set()

    def passes(self, size: int) -> bool:
        """Counts bytes; where the limit is reached, waits for `cut` and is then false."""
        self.passed += size
        if self.limit is None or self.passed <= self.limit:
            return True
        self.is_held.set()
        self.is_cut.wait()
        return False


class _Connection(socketserver.BaseRequestHandler):
    server: Server

    def handle(self) -> None:
        ours, theirs = socket.socketpair()
        command = [SSHD, "-i", "-e", "-f", str(self.server.folder / "sshd_config")]
        with theirs, (self.server.folder / "log").open("ab") as log:
            process = subprocess.Popen(command, stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=log)
        upwards = Thread(target=self._pass_on, args=(self.request, ours), daemon=True)
        upwards.start()
        self._pass_on(ours, self.request)
        upwards.join()
        process.wait()
        ours.close()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while (chunk := source.recv(4096)) and self.server.passes(len(chunk)):
                target.sendall(chunk)
        except OSError:
            pass  # the other side went away, as in the tests that kill it
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@contextmanager
def ssh_server(folder: Path) -> Iterator[Server]:
    """An SSH server whose keys and settings lie in the folder; skips the test where there is no sshd."""
    if not Path(SSHD).exists():
        pytest.skip(f"{SSHD} is missing: install Debian's openssh-server")
    if os.geteuid() == 0 and not PRIVILEGE_SEPARATION.is_dir():
        pytest.skip(f"sshd, started by root, needs an empty folder: mkdir {PRIVILEGE_SEPARATION}")
    folder.mkdir()
    with Server(folder) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server
        finally:
            server.cut()
            server.shutdown()


@contextmanager
def web_server(folder: Path) -> Iterator[str]:
    """A web server of the files in a folder; its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@dataclass(frozen=True)
class Published:
    """A project whose runs are done, committed to git and pushed to both remotes, and where everything lies."""

    base: Path
    server: Server

    @property
    def project(self) -> Path:
        """The project that was pushed."""
        return self.base / "project"

    @property
    def environment(self) -> dict[str, str]:
        """Keeps the person's own settings, keys and caches out."""
        people = {f"GIT_{who}_{what}": "test@test" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        folders = ("DVC_SITE_CACHE_DIR", "DVC_GLOBAL_CONFIG_DIR", "DVC_SYSTEM_CONFIG_DIR", "HOME")
        return {
            **{name: str(self.base / "home") for name in folders},
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_SYSTEM": os.devnull,
            "SSH_AUTH_SOCK": "",
            "DVC_NO_ANALYTICS": "1",
            **people,
        }

    def run(self, folder: Path, *command: str, expect: int = 0) -> str:
        """Runs a command in a folder and returns what it printed."""
        return run(folder, *command, expect=expect, **self.environment)

    def start(self, folder: Path, *command: str) -> subprocess.Popen[bytes]:
        """Starts a command in a folder, for the test to kill; what it prints is dropped."""
        return subprocess.Popen(
            [str(BIN / command[0]), *command[1:]],
            cwd=folder,
            env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", **self.environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def address(self, path: Path) -> str:
        """The address of a folder on the server."""
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.server.port}{path}"

    def add_remotes(self) -> None:
        """Gives the project the remotes `folder` and `server`, both with `verify`, as docs/workflow.md says."""
        key, addresses = (
            self.server.folder / "user_key",
            (str(self.base / "folder"), self.address(self.base / "server")),
        )
        for remote, address in zip(REMOTES, addresses, strict=True):
            self.run(self.project, "dvc", "remote", "add", "--force", "--default", remote, address)
            self.run(self.project, "dvc", "remote", "modify", remote, "verify", "true")
        self.run(self.project, "dvc", "remote", "modify", "--local", "server", "keyfile", str(key))

    def clone(self, name: str) -> Path:
        """A fresh clone at another path, which knows the key to the server."""
        folder = self.base / name
        self.run(self.base, GIT, "clone", "--quiet", str(self.project), str(folder))
        shutil.copy(self.project / ".dvc/config.local", folder / ".dvc")
        return folder

    def store(self, remote: str) -> Path:
        """Where a remote keeps its objects."""
        return self.base / remote / "files/md5"


def publish(demo: Path, base: Path, server: Server) -> Published:
    """Commits a finished project to git and pushes its data and networks to a folder and to the server."""
    published = Published(base, server)
    project = published.project
    (base / "home").mkdir()
    shutil.copytree(demo, project)
    (project / ".dvc").mkdir()
    for name in (".dvc/config", ".dvc/.gitignore", ".dvcignore", ".gitignore"):
        shutil.copy(PROJECT / name, project / name)
    published.run(project, GIT, "init", "--quiet")
    published.run(project, "eps-resnet", "generate")
    published.run(project, "dvc", "commit", "-f", "--no-relink")
    published.add_remotes()
    published.run(project, GIT, "add", "--all")
    published.run(project, GIT, "commit", "--quiet", "--message", "results")
    for remote in REMOTES:
        published.run(project, "dvc", "push", "--remote", remote)
    return published


def tracked(project: Path) -> dict[str, str]:
    """The MD5 of each file that DVC keeps, by path. Some pruned networks are git's."""
    stages = yaml.safe_load((project / "dvc.lock").read_text())["stages"]
    outs = {out["path"]: out["md5"] for stage in stages.values() for out in stage.get("outs", ())}
    ignored = (project / "results/.gitignore").read_text().splitlines()
    in_git = {line.replace("!/", "results/") for line in ignored}
    return {path: digest for path, digest in outs.items() if path.endswith(".safetensors") and path not in in_git}


def md5(path: Path) -> str:
    """The digest that DVC names objects by."""
    return hashlib.md5(path.read_bytes()).hexdigest()


def is_whole(project: Path) -> bool:
    """Whether each file that DVC keeps is there and right, and the network has the digest of its manifest."""
    right = {path: (project / path).exists() and md5(project / path) for path in tracked(project)} == tracked(project)
    recorded = read_json(project / f"results/{RUN}/manifest.json")
    return right and recorded is not None and sha256(project / MODEL) == recorded["model_sha256"]


def downloaded(project: Path) -> set[str]:
    """The files that DVC keeps and that are in a clone, or in its cache only."""
    cache = objects(project / ".dvc/cache/files/md5")
    return {path for path, digest in tracked(project).items() if (project / path).exists() or digest in cache}


def object_of(store: Path, project: Path, path: str) -> Path:
    """The object of a tracked file in a remote's or a cache's store."""
    digest = tracked(project)[path]
    return store / digest[:2] / digest[2:]


def objects(store: Path) -> dict[str, str]:
    """What digest the objects of a store have, by their names, which should be the same."""
    paths = [path for path in store.rglob("*") if path.is_file() and path.suffix != ".tmp"]
    return {path.parent.name + path.name: md5(path) for path in paths}


def damage(path: Path, kind: str) -> None:
    """Damages a file as a failing disk does: its permissions stay."""
    content, mode = path.read_bytes(), path.stat().st_mode
    middle = len(content) // 2
    path.unlink()
    if kind != "missing":
        flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        path.write_bytes(flipped if kind == "flipped byte" else content[:middle])
        path.chmod(mode)


@contextmanager
def damaged(path: Path, kind: str) -> Iterator[None]:
    """Damages a file for a while, and gives it back."""
    content, mode = path.read_bytes(), path.stat().st_mode
    damage(path, kind)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        path.write_bytes(content)
        path.chmod(mode)


def check(store: Path) -> list[str]:
    """The objects that the command of docs/workflow.md, run in a store, names as damaged."""
    assert CHECK, "docs/workflow.md has no command that checks a store"
    process = subprocess.run(["bash", "-c", CHECK[0]], cwd=store, capture_output=True, text=True, check=False)
    assert process.returncode == (1 if process.stdout else 0), process.stderr
    return [line.removesuffix(": FAILED") for line in process.stdout.splitlines()]
