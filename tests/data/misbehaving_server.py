"""A web server of this machine with one file, which answers each request as well or as badly as a test says."""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Handler = BaseHTTPRequestHandler


class Site:
    """The file, the answers to the coming requests (then `well`), and the requests so far."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.answers: list[Callable[[Site, Handler], None]] = []
        self.requests: list[dict[str, str]] = []
        self.address, self.drained = "", False
        self.stalled, self.goes_on = threading.Event(), threading.Event()


@contextmanager
def serving(site: Site) -> Iterator[Site]:
    """Serves it at `site.address`, whatever the path, until the block ends."""

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.requests.append({"path": self.path, **self.headers})
            answer = site.answers.pop(0) if site.answers else well
            with suppress(OSError):  # a client that gives up
                answer(site, self)

        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        site.address = f"http://127.0.0.1:{server.server_port}"
        try:
            yield site
        finally:
            server.shutdown()
            thread.join()


def start_of(handler: Handler) -> int:
    """Where the range that was asked for begins."""
    found = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
    return int(found[1]) if found else 0


def begin(site: Site, handler: Handler, start: int, length: int | None = None) -> None:
    """The status and the headers of the file from `start` on."""
    size = len(site.content)
    handler.send_response(206 if start else 200)
    if start:
        handler.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
    handler.send_header("Content-Length", str(size - start if length is None else length))
    handler.end_headers()


def well(site: Site, handler: Handler) -> None:
    """The file, or the rest of it that was asked for."""
    start = start_of(handler)
    if start >= len(site.content):
        handler.send_response(416)
        handler.send_header("Content-Range", f"bytes */{len(site.content)}")
        handler.end_headers()
        return
    begin(site, handler, start)
    handler.wfile.write(site.content[start:])


def whole(site: Site, handler: Handler) -> None:
    """The file from its first byte, whatever was asked for."""
    begin(site, handler, 0)
    handler.wfile.write(site.content)


def cut_at(place: int) -> Callable[[Site, Handler], None]:
    """All is promised, and the connection closed at that byte of the file."""

    def answer(site: Site, handler: Handler) -> None:
        start = start_of(handler)
        begin(site, handler, start)
        handler.wfile.write(site.content[start:place])

    return answer


def stalling_at(place: int) -> Callable[[Site, Handler], None]:
    """All is promised, `site.stalled` is set at that byte of the file, and no more comes until the client goes."""

    def answer(site: Site, handler: Handler) -> None:
        start = start_of(handler)
        begin(site, handler, start)
        handler.wfile.write(site.content[start:place])
        site.stalled.set()
        handler.connection.settimeout(60)
        handler.connection.recv(1)

    return answer


def pausing_at(place: int) -> Callable[[Site, Handler], None]:
    """The file; `site.stalled` is set at that byte, and the rest comes once `site.goes_on` is set."""

    def answer(site: Site, handler: Handler) -> None:
        begin(site, handler, 0)
        handler.wfile.write(site.content[:place])
        site.stalled.set()
        site.goes_on.wait(60)
        handler.wfile.write(site.content[place:])

    return answer


def status(code: int, **headers: str) -> Callable[[Site, Handler], None]:
    """Nothing but a status."""

    def answer(_: Site, handler: Handler) -> None:
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()

    return answer


def endless(site: Site, handler: Handler) -> None:
    """Bytes without an end and without a promise of how many."""
    handler.send_response(200)
    handler.end_headers()
    flood(site, handler)


def flood(site: Site, handler: Handler) -> None:
    """Bytes until the client goes; `site.drained` if it has taken 64 MiB."""
    for _ in range(1024):
        handler.wfile.write(bytes(1 << 16))
    site.drained = True
