"""DVC remotes by real git, DVC and sshd: what was pushed comes back whole and current, and who notices damage."""

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tests.workflow.remotes import (
    GIT,
    MODEL,
    REMOTES,
    Published,
    check,
    damage,
    damaged,
    downloaded,
    is_whole,
    object_of,
    publish,
    ssh_server,
    tracked,
    web_server,
)

pytestmark = pytest.mark.slow  # starts real processes, for seconds each


@pytest.fixture(scope="module")
def published(demo: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Published]:
    base = tmp_path_factory.mktemp("remotes")
    with ssh_server(base / "sshd") as server:
        yield publish(demo[0], base, server)


@pytest.mark.parametrize("remote", REMOTES)
def test_what_was_pushed_comes_back_whole_and_nothing_is_retrained(published: Published, remote: str) -> None:
    clone = published.clone(f"pulled from {remote}")
    assert len(tracked(clone)) == 6
    published.run(clone, "dvc", "pull", "--remote", remote)
    assert is_whole(clone)
    published.run(clone, "eps-resnet", "verify")
    assert "Nothing to be done" in published.run(clone, "snakemake", "-n", "demo")
    assert "up to date" in published.run(clone, "dvc", "status")
    printed = published.run(clone, "dvc", "repro")
    assert "Running stage" not in printed
    assert "up to date" in printed
    assert published.run(clone, GIT, "status", "--porcelain") == ""


def test_a_bucket_of_s3_is_a_remote_like_the_others(
    published: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "none").touch()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):  # the person's own
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)  # a real S3 server, but for its storage
    server.start()
    try:
        endpoint = "http://{}:{}".format(*server.get_host_and_port())
        boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1").create_bucket(Bucket="results")
        clones = [published.clone(f"{what} the bucket") for what in ("pushed to", "pulled from")]
        for clone in clones:
            published.run(clone, "dvc", "remote", "add", "--default", "bucket", "s3://results/eps-resnet", "--force")
            published.run(clone, "dvc", "remote", "modify", "bucket", "endpointurl", endpoint)
        published.run(clones[0], "dvc", "pull", "--remote", "folder")
        published.run(clones[0], "dvc", "push")
        assert "up to date" in published.run(clones[1], "dvc", "repro", "--pull", "--allow-missing", "figure6-digits")
        assert downloaded(clones[1]) == set()
        published.run(clones[1], "dvc", "pull")
        assert is_whole(clones[1])
    finally:
        server.stop()


def test_a_clone_is_current_without_a_pull_and_downloads_no_checkpoint_it_does_not_need(published: Published) -> None:
    clone = published.clone("not pulled")
    for options in (("--allow-missing",), ("--pull", "--allow-missing")):
        printed = published.run(clone, "dvc", "repro", *options, "figure6-digits")
        assert "Running stage" not in printed
        assert "up to date" in printed
    assert downloaded(clone) == set()
    assert published.run(clone, GIT, "status", "--porcelain") == ""
    published.run(clone, "dvc", "pull", MODEL)  # which is seen, so that the check above can fail
    assert downloaded(clone) == {MODEL}


def test_a_remote_in_a_folder_can_be_read_from_a_web_server(published: Published) -> None:
    clone = published.clone("from the web")
    with web_server(published.base / "folder") as address:
        published.run(clone, "dvc", "remote", "add", "--default", "web", address, "--force")
        published.run(clone, "dvc", "remote", "modify", "web", "verify", "true")
        assert "up to date" in published.run(clone, "dvc", "repro", "--pull", "--allow-missing", "figure6-digits")
        assert downloaded(clone) == set()
        published.run(clone, "dvc", "pull")
    assert is_whole(clone)


@pytest.mark.faults
@pytest.mark.parametrize("where", ["project", "clone"])
def test_files_checked_out_again_are_new_and_still_current(published: Published, where: str) -> None:
    project = published.project
    if where == "clone":
        project = published.clone("checked out")
        published.run(project, "dvc", "pull", "--remote", "folder")
    before = (project / MODEL).stat().st_mtime_ns
    (project / MODEL).unlink()
    published.run(project, "dvc", "checkout")
    assert (project / MODEL).stat().st_mtime_ns > before
    assert "Nothing to be done" in published.run(project, "snakemake", "-n", "demo")
    assert is_whole(project)


@pytest.mark.faults
def test_a_damaged_object_is_refused_with_verify_and_without_it_found_by_eps_resnet(published: Published) -> None:
    store = published.store("server")
    stored, clone = object_of(store, published.project, MODEL), published.clone("of a damaged remote")
    with damaged(stored, "flipped byte"):
        assert check(store) == [str(stored.relative_to(store))]
        printed = published.run(clone, "dvc", "pull", "--remote", "server", expect=1)
        assert MODEL in printed.split("Checkout failed for following targets:")[1]
        assert not (clone / MODEL).exists()
        published.run(clone, "dvc", "remote", "modify", "--local", "server", "verify", "false")
        published.run(clone, "dvc", "pull", "--remote", "server")
    assert check(store) == []
    assert "up to date" in published.run(clone, "dvc", "status")
    assert f"{MODEL} was altered" in published.run(clone, "eps-resnet", "verify", expect=1)


@pytest.mark.faults
def test_a_damaged_cache_is_copied_out_by_dvc_and_found_by_eps_resnet(published: Published) -> None:
    clone = published.clone("with a damaged cache")
    published.run(clone, "dvc", "pull", "--remote", "folder")
    cache = clone / ".dvc/cache/files/md5"
    cached = object_of(cache, clone, MODEL)
    damage(cached, "flipped byte")
    assert check(cache) == [str(cached.relative_to(cache))]
    (clone / MODEL).unlink()
    published.run(clone, "dvc", "checkout")
    assert "up to date" in published.run(clone, "dvc", "status")
    assert f"{MODEL} was altered" in published.run(clone, "eps-resnet", "verify", expect=1)


@pytest.mark.faults
def test_dvc_does_not_look_at_a_servers_key_and_a_tunnel_by_ssh_does(published: Published, tmp_path: Path) -> None:
    server, known = published.server, published.base / "home/.ssh/known_hosts"
    name, stranger, host = (f"[127.0.0.1]:{server.port} ", *(
        (server.folder / f"{key}.pub").read_text() for key in ("user_key", "host_key")
    ))  # fmt: skip
    known.parent.mkdir()
    (known.parent / "config").write_text(f"StrictHostKeyChecking yes\nUserKnownHostsFile {known}\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # As in docs/workflow.md; -f ends the command once the tunnel stands, the control socket ends the tunnel.
    ssh = ["ssh", "-F", str(known.parent / "config"), "-S", str(tmp_path / "control"), "127.0.0.1"]
    key = ["-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-i", str(server.folder / "user_key")]
    tunnel = [*ssh, *key, "-p", str(server.port), "-M", "-f", "-N", "-L", f"{port}:127.0.0.1:{server.port}"]

    known.write_text(name + stranger)
    assert "up to date" in published.run(published.project, "dvc", "push", "--remote", "server")
    refused = subprocess.run(tunnel, capture_output=True, text=True, check=False)
    assert refused.returncode == 255
    assert "Host key verification failed" in refused.stderr

    known.write_text(name + host)
    subprocess.run(tunnel, check=True)
    try:
        clone = published.clone("by a tunnel")
        address = published.address(published.base / "server").replace(f":{server.port}/", f":{port}/")
        published.run(clone, "dvc", "remote", "modify", "--local", "server", "url", address)
        published.run(clone, "dvc", "pull", "--remote", "server")
        assert is_whole(clone)
    finally:
        subprocess.run([*ssh, "-O", "exit"], check=True, capture_output=True)
