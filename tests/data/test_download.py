"""Downloads: what breaks is continued, what is wrong is not accepted, and several processes download once."""

import hashlib
import pickle
import resource
import shutil
import signal
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from eps_resnet.data import download as module
from eps_resnet.data import manifest, store
from eps_resnet.data.download import download
from eps_resnet.data.fetch import fetch
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.registry import Registry
from eps_resnet.files.errors import UserError
from tests.conftest import PROJECT
from tests.data.misbehaving_server import (
    Handler,
    Site,
    begin,
    cut_at,
    endless,
    flood,
    pausing_at,
    serving,
    stalling_at,
    start_of,
    status,
    well,
    whole,
)
from tests.data.test_cifar import accepting, archive

__all__ = ["archive"]  # a fixture
CONTENT = b"".join(i.to_bytes(4, "little") for i in range(75_000))  # no part of it is like another
OTHER = bytes(reversed(CONTENT))
CUT = 200_000


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSES", (0, 0, 0, 0))


@pytest.fixture
def site() -> Iterator[Site]:
    with serving(Site(CONTENT)) as served:
        yield served


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "file.bin"


def part_of(target: Path) -> Path:
    return target.with_name("file.bin.part")


def left_behind(target: Path) -> list[str]:
    return sorted(path.name for path in target.parent.iterdir())


def test_a_file_comes_whole_and_nothing_else_is_left(site: Site, target: Path) -> None:
    assert not download(f"{site.address}/file", target)
    assert target.read_bytes() == CONTENT
    assert left_behind(target) == ["file.bin"]


def test_a_connection_that_breaks_twice_is_continued_where_it_broke(site: Site, target: Path) -> None:
    site.answers = [cut_at(CUT), cut_at(250_000)]
    assert download(f"{site.address}/file", target)
    assert target.read_bytes() == CONTENT
    starts = [int(request["Range"].removeprefix("bytes=").removesuffix("-")) for request in site.requests[1:]]
    assert CUT - module.CHUNK < starts[0] <= CUT < starts[1] <= 250_000


def test_a_server_that_ignores_ranges_makes_it_begin_anew(site: Site, target: Path) -> None:
    site.answers = [cut_at(CUT), whole]
    assert not download(f"{site.address}/file", target)
    assert target.read_bytes() == CONTENT


def test_a_server_that_has_less_than_the_part_makes_it_begin_anew(site: Site, target: Path) -> None:
    site.answers = [cut_at(CUT), exchanged_for(CONTENT[:1000])]
    assert not download(f"{site.address}/file", target)
    assert target.read_bytes() == CONTENT[:1000]


def exchanged_for(content: bytes) -> Callable[[Site, Handler], None]:
    """The file is another one from now on."""

    def answer(site: Site, handler: Handler) -> None:
        site.content = content
        well(site, handler)

    return answer


@pytest.mark.parametrize("held", ["bytes 0-299999/300000", "bytes 5-299999/300000", "bytes */300000", "pages 1-2/3"])
def test_an_answer_of_another_range_makes_it_begin_anew(site: Site, target: Path, held: str) -> None:
    site.answers = [cut_at(CUT), status(206, **{"Content-Range": held})]
    assert not download(f"{site.address}/file", target)
    assert target.read_bytes() == CONTENT


def test_a_file_that_never_comes_whole_is_given_up_and_what_came_is_kept(site: Site, target: Path) -> None:
    site.answers = [lambda s, h: (begin(s, h, 0), h.wfile.write(CONTENT[:CUT]), None)[2]] * 9
    with pytest.raises(UserError, match=r"the connection broke 5 times; \d+ bytes are kept: fetch again"):
        download(f"{site.address}/file", target)
    assert len(site.requests) == 5
    assert CONTENT.startswith(part_of(target).read_bytes())
    assert not target.exists()


def test_bytes_after_the_promised_ones_are_not_taken(site: Site, target: Path) -> None:
    site.answers = [lambda s, h: (begin(s, h, 0, CUT), flood(s, h))[1]]
    download(f"{site.address}/file", target)
    assert target.read_bytes() == bytes(CUT)


def test_a_rest_that_is_longer_than_the_file_is_refused_and_deleted(site: Site, target: Path) -> None:
    def longer(site: Site, handler: Handler) -> None:
        start, size = start_of(handler), len(CONTENT)
        handler.send_response(206)
        handler.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        handler.end_headers()
        flood(site, handler)

    site.answers = [cut_at(CUT), longer]
    with pytest.raises(UserError, match=r"has 3\d+ bytes or more, which is more than was announced"):
        download(f"{site.address}/file", target)
    assert not part_of(target).exists()


def test_a_rest_that_ends_too_early_without_a_promise_of_its_length_is_continued(site: Site, target: Path) -> None:
    def shorter(site: Site, handler: Handler) -> None:
        start, size = start_of(handler), len(CONTENT)
        handler.send_response(206)
        handler.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        handler.end_headers()
        handler.wfile.write(CONTENT[start:250_000])

    site.answers = [cut_at(CUT), shorter]
    assert download(f"{site.address}/file", target)
    assert target.read_bytes() == CONTENT
    assert len(site.requests) == 3


def test_a_file_without_an_end_is_stopped_at_the_bound_and_deleted(
    site: Site, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LARGEST", 1_000_000)
    site.answers = [endless]
    with pytest.raises(UserError, match=r"has 1\d{6} bytes or more"):
        download(f"{site.address}/file", target)
    assert not part_of(target).exists()
    assert not site.drained


def test_a_file_that_is_announced_too_large_is_refused_at_once(site: Site, target: Path) -> None:
    site.answers = [lambda s, h: begin(s, h, 0, module.LARGEST + 1)]
    with pytest.raises(UserError, match=r"has 2147483649 bytes or more"):
        download(f"{site.address}/file", target)
    assert left_behind(target) == []


def test_redirects_are_followed_with_the_range(site: Site, target: Path) -> None:
    redirect = status(302, Location="/elsewhere")
    site.answers = [cut_at(CUT), redirect, redirect]
    assert download(f"{site.address}/file", target)
    assert target.read_bytes() == CONTENT
    assert [request["path"] for request in site.requests] == ["/file", "/file", "/elsewhere", "/elsewhere"]
    assert "Range" in site.requests[-1]


def test_redirects_in_a_circle_end_with_a_message(site: Site, target: Path) -> None:
    site.answers = [status(301, Location="/file")] * 20
    with pytest.raises(UserError, match=r"no file can be had from this address \(Exceeded 5 redirects"):
        download(f"{site.address}/file", target)
    assert len(site.requests) == 6


@pytest.mark.parametrize("place", ["file:///etc/passwd", "ftp://example.org/file", "data:text/plain,file"])
def test_a_redirect_to_another_kind_of_address_is_refused(site: Site, target: Path, place: str) -> None:
    site.answers = [status(302, Location=place)]
    with pytest.raises(UserError, match=rf"no file can be had from this address \(No connection adapters .* '{place}'"):
        download(f"{site.address}/file", target)
    assert left_behind(target) == []


@pytest.mark.parametrize("code", [404, 500, 503, 204, 206, 304])
def test_an_answer_that_is_no_file_ends_with_its_status(site: Site, target: Path, code: int) -> None:
    site.answers = [status(code)]
    with pytest.raises(UserError, match=f"the server answers {code} "):
        download(f"{site.address}/file", target)
    assert len(site.requests) == 1
    assert left_behind(target) == []


def test_a_part_outlives_a_server_that_is_down_and_an_address_that_cannot_be_reached(site: Site, target: Path) -> None:
    site.answers = [cut_at(CUT), status(503)]
    with pytest.raises(UserError, match="the server answers 503"):
        download(f"{site.address}/file", target)
    assert download(f"{site.address}/file", target)
    assert target.read_bytes() == CONTENT


def test_an_address_that_cannot_be_reached_is_told_so(target: Path) -> None:
    with pytest.raises(UserError, match="cannot be reached or does not answer"):
        download("http://127.0.0.1:9/file", target)


class Proxy(BaseHTTPRequestHandler):
    """Wants a password."""

    def do_GET(self) -> None:
        self.send_response(407)
        self.send_header("Proxy-Authenticate", "Basic")
        self.end_headers()

    do_CONNECT = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as served:
        Thread(target=served.serve_forever, daemon=True).start()
        yield served
        served.shutdown()


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_wants_a_password_is_told_with_where_to_give_it(
    scheme: str, target: Path, server: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"{scheme}_proxy", f"http://127.0.0.1:{server.server_port}")
    with pytest.raises(UserError, match="the proxy wants a name and a password: https_proxy=http://NAME:PASSWORD@"):
        download(f"{scheme}://mirror.example/file", target)


def test_a_proxy_that_is_down_is_told_from_a_server_that_is(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"the proxy that http_proxy, .* names .*Connection refused"):
        download("http://mirror.example/file", target)


def test_a_certificate_of_ones_own_is_told_with_the_variable_that_is_read(
    target: Path, server: ThreadingHTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not there to make a certificate")
    own, key = tmp_path / "own.pem", tmp_path / "key.pem"
    words = f"openssl req -x509 -newkey rsa:2048 -nodes -keyout {key} -out {own} -days 2 -subj /CN=localhost"
    command = [*words.split(), "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(command, capture_output=True, check=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    address = f"https://127.0.0.1:{server.server_port}/file"
    with pytest.raises(UserError, match=r"not accepted \(self-signed certificate\).*REQUESTS_CA_BUNDLE=FILE"):
        download(address, target)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(own))
    with pytest.raises(UserError, match="the proxy wants"):  # what this server answers to everything
        download(address, target)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "gone.pem"))
    with pytest.raises(UserError, match=r"invalid path: .*gone\.pem \(REQUESTS_CA_BUNDLE"):
        download(address, target)


def test_a_part_of_another_address_is_not_continued(site: Site, target: Path) -> None:
    site.answers = [cut_at(CUT), status(500)]
    with pytest.raises(UserError):
        download(f"{site.address}/first", target)
    assert not download(f"{site.address}/second", target)
    assert "Range" not in site.requests[-1]
    assert target.read_bytes() == CONTENT


def test_a_part_that_is_whole_already_is_taken(site: Site, target: Path) -> None:
    part_of(target).write_bytes(CONTENT)
    target.with_name("file.bin.part.url").write_text(f"{site.address}/file")
    assert download(f"{site.address}/file", target)
    assert target.read_bytes() == CONTENT
    assert left_behind(target) == ["file.bin"]


def test_where_no_space_is_left_the_part_is_kept_and_continued(site: Site, target: Path) -> None:
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (CUT, former[1]))
    try:
        with pytest.raises(
            UserError, match=r"cannot be written: File too large\. A limit.* \d+ bytes .* 300000 are needed"
        ):
            download(f"{site.address}/file", target)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)
    assert 0 < part_of(target).stat().st_size <= CUT
    assert download(f"{site.address}/file", target)
    assert target.read_bytes() == CONTENT


DOWNLOAD = """
import sys
from pathlib import Path
from eps_resnet.data.download import download
download(sys.argv[1], Path(sys.argv[2]))
"""


def wait_for_bytes(process: "subprocess.Popen[bytes]", path: Path, size: int) -> None:
    """Waits until a process that goes on has written so many bytes."""
    for _ in range(600):
        if path.exists() and path.stat().st_size >= size:
            return
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.1)
    pytest.fail(f"{path} has not reached {size} bytes")


def test_a_process_that_is_killed_leaves_a_part_which_the_next_one_continues(site: Site, target: Path) -> None:
    site.answers = [stalling_at(CUT)]
    command = [sys.executable, "-c", DOWNLOAD, f"{site.address}/file", str(target)]
    with subprocess.Popen(command, cwd=PROJECT, stderr=subprocess.DEVNULL) as process:
        assert site.stalled.wait(60)
        wait_for_bytes(process, part_of(target), CUT - module.CHUNK)
        process.send_signal(signal.SIGKILL)
    kept = part_of(target).stat().st_size
    subprocess.run(command, cwd=PROJECT, stderr=subprocess.DEVNULL, check=True, timeout=60)
    assert site.requests[1]["Range"] == f"bytes={kept}-"
    assert target.read_bytes() == CONTENT
    assert left_behind(target) == ["file.bin"]


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "root")


@pytest.fixture
def cifar(experiments: Registry, archive: Path) -> Iterator[tuple[Registry, Site]]:
    """A registry with one small copy of CIFAR-10, and the site that its address leads to."""
    with serving(Site(archive.read_bytes())) as served:
        registry = accepting(experiments, archive)
        copy = registry.datasets["cifar10"].archives[0]
        copy = copy.model_copy(update={"urls": (f"{served.address}/cifar.tar.gz",)})
        data = registry.datasets["cifar10"].model_copy(update={"archives": (copy,)})
        yield registry.model_copy(update={"datasets": {**registry.datasets, "cifar10": data}}), served


def test_a_wrong_file_is_refused_and_deleted_and_the_next_fetch_begins_anew(
    cifar: tuple[Registry, Site], layout: Layout
) -> None:
    registry, site = cifar
    right, site.content = site.content, OTHER
    message = rf"cifar\.tar\.gz has SHA-256 {sha256_of(OTHER)}, expected {sha256_of(right)}; its 300000 bytes were del"
    with pytest.raises(UserError, match=message):
        fetch(registry, layout, "cifar10")
    assert len(site.requests) == 1
    assert list(layout.downloads.iterdir()) == []
    site.content = right
    assert fetch(registry, layout, "cifar10").train_images == 20


def sha256_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_wrong_file_that_came_in_parts_is_downloaded_once_more_from_its_start(
    cifar: tuple[Registry, Site], layout: Layout
) -> None:
    registry, site = cifar
    right = site.content
    part = layout.downloads / "cifar.tar.gz.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"damaged" + right[7:100_000])
    part.with_name("cifar.tar.gz.part.url").write_text(f"{site.address}/cifar.tar.gz")
    assert fetch(registry, layout, "cifar10").train_images == 20
    assert [request.get("Range") for request in site.requests] == [f"bytes={min(100_000, len(right))}-", None]


def test_a_file_that_changes_between_the_parts_is_not_mixed(cifar: tuple[Registry, Site], layout: Layout) -> None:
    registry, site = cifar
    right, site.content = site.content, bytes(len(site.content))
    site.answers = [cut_at(len(right) - 10), exchanged_for(right)]
    assert fetch(registry, layout, "cifar10").train_images == 20
    assert ["Range" in request for request in site.requests] == [False, True, False]


def test_a_wrong_file_that_lay_there_is_downloaded_anew(cifar: tuple[Registry, Site], layout: Layout) -> None:
    registry, site = cifar
    layout.downloads.mkdir(parents=True)
    (layout.downloads / "cifar.tar.gz").write_bytes(site.content[:-1])
    assert fetch(registry, layout, "cifar10").train_images == 20


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:9/", "http://127.0.0.1:9/..", "http://[", "http:///file", "http://"]
)
def test_an_address_that_names_no_file_is_told_so(cifar: tuple[Registry, Site], layout: Layout, address: str) -> None:
    with pytest.raises(UserError, match=r"does not end in a file's name|no file can be had from this address"):
        fetch(cifar[0], layout, "cifar10", address)


def test_images_that_are_there_and_right_are_not_fetched_again(cifar: tuple[Registry, Site], layout: Layout) -> None:
    registry, site = cifar
    first = fetch(registry, layout, "cifar10")
    (layout.downloads / "cifar.tar.gz").unlink()
    before = layout.store("cifar10").stat()
    assert fetch(registry, layout, "cifar10") == first
    assert layout.store("cifar10").stat() == before
    assert len(site.requests) == 1


@pytest.mark.parametrize("damage", ["store is gone", "store is altered", "manifest is gone", "copy is not accepted"])
def test_images_that_are_not_what_they_should_be_are_fetched_anew(
    cifar: tuple[Registry, Site], layout: Layout, damage: str
) -> None:
    registry, _ = cifar
    first = fetch(registry, layout, "cifar10")
    path = layout.store("cifar10")
    if damage == "store is gone":
        path.unlink()
    elif damage == "store is altered":
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    elif damage == "manifest is gone":
        layout.data_manifest("cifar10").unlink()
    else:
        manifest.write(layout, replace(first, copy_sha256="0" * 64))
    assert fetch(registry, layout, "cifar10") == manifest.read(layout, "cifar10") == first
    assert len(store.load(layout, "cifar10").train_labels) == 20


FETCH = """
import pickle, sys
from pathlib import Path
from eps_resnet.data.fetch import fetch
from eps_resnet.experiments.layout import Layout
fetch(pickle.loads(Path(sys.argv[1]).read_bytes()), Layout(Path(sys.argv[2])), "cifar10")
"""


def fetching(registry: Registry, layout: Layout) -> "subprocess.Popen[str]":
    """A process of its own that fetches."""
    path = layout.root.with_name("registry")
    path.write_bytes(pickle.dumps(registry))
    command = [sys.executable, "-c", FETCH, str(path), str(layout.root)]
    return subprocess.Popen(command, cwd=PROJECT, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_of_two_processes_one_downloads_and_the_other_says_for_whom_it_waits(
    cifar: tuple[Registry, Site], layout: Layout
) -> None:
    registry, site = cifar
    site.answers = [pausing_at(1000)]
    with fetching(registry, layout) as first, fetching_after(site, registry, layout) as second:
        assert second.stderr is not None
        assert f"Data set cifar10: waiting for process {first.pid} on " in second.stderr.readline()
        site.goes_on.set()
        assert second.stderr.read() == ""
        assert [first.wait(60), second.wait(60)] == [0, 0]
    assert len(site.requests) == 1
    assert len(store.load(layout, "cifar10").train_labels) == 20


def fetching_after(site: Site, registry: Registry, layout: Layout) -> "subprocess.Popen[str]":
    assert site.stalled.wait(60)
    return fetching(registry, layout)


def test_a_fetch_that_ends_between_store_and_manifest_leaves_what_the_next_one_mends(
    cifar: tuple[Registry, Site], layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry, site = cifar

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(store, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fetch(registry, layout, "cifar10")
    assert layout.store("cifar10").exists()
    layout.store("cifar10").with_name(".cifar10.json.1.part").write_text("{")  # as of a kill within the next write
    with pytest.raises(UserError, match="run `eps-resnet fetch cifar10`"):
        store.load(layout, "cifar10")
    fetch(registry, layout, "cifar10")
    assert len(store.load(layout, "cifar10").train_labels) == 20
    assert sorted(path.name for path in (layout.root / "data").iterdir()) == [
        "cifar10.json",
        "cifar10.safetensors",
        "downloads",
    ]
    assert len(site.requests) == 1
