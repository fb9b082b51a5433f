"""One file by HTTP: continued where it broke off, bounded in size, and put in its place when it is whole."""

import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import requests
import urllib3
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from eps_resnet.files.errors import UserError, explained

LARGEST = 2 << 30  # bytes of a file; SVHN's extra images, the largest there is, have 1.3 GB
TIMEOUT = (10, 60)  # seconds to connect, and without a byte
PAUSES = (1, 2, 4, 8)  # seconds before a connection that broke is made anew
REDIRECTS = 5
CHUNK = 64 << 10  # bytes asked for at a time: as many may be lost where a connection breaks
PROXY_PASSWORD = (
    "the proxy wants a name and a password: https_proxy=http://NAME:PASSWORD@HOST:PORT, or http_proxy for http://"
)
BROKEN = (requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError)


def download(url: str, target: Path) -> bool:
    """Downloads a file to `target`. Returns whether it was put together from the answers to several requests.

    If so, and the file has changed on the server meanwhile, it is a mixture: who checks its digest downloads it anew.
    Until it is whole it lies beside `target` as NAME.part, and NAME.part.url says where it comes from. Raises UserError
    if it cannot be had whole; what has come is kept for the next call, unless it is too long.
    """
    part = target.with_name(f"{target.name}.part")
    target.parent.mkdir(parents=True, exist_ok=True)
    with requests.Session() as session:
        session.max_redirects = REDIRECTS  # which requests follows to http and https only
        for pause in (*PAUSES, None):
            try:
                start = _receive(session, url, part)
                break
            except BROKEN as error:
                if pause is None or not part.exists():  # a server that has given nothing is asked once
                    raise UserError(_broken(part, error)) from None
                time.sleep(pause)
            except (requests.RequestException, ValueError) as error:
                raise UserError(f"no file can be had from this address ({error})") from None
            except OSError as error:
                if error.errno is not None:
                    raise
                raise UserError(f"{error} (REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE names it)") from None
    part.replace(target)
    _source(part).unlink(missing_ok=True)
    return start > 0


def _receive(session: requests.Session, url: str, part: Path) -> int:
    """Completes the part, and returns how many of its bytes were there before this request."""
    start = _begun(part, url)
    headers = {"Range": f"bytes={start}-"} if start else {}
    headers["Accept-Encoding"] = "identity"  # sizes and ranges are those of the file as it lies there
    with session.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
        if answer.status_code == 407:
            raise UserError(PROXY_PASSWORD)
        if answer.status_code not in ((200, 206, 416) if start else (200,)):
            raise UserError(f"the server answers {answer.status_code} {answer.reason}")
        total, held = _total(answer), answer.headers.get("Content-Range")
        if answer.status_code == 416 and held == f"bytes */{start}":
            return start  # it was whole already
        if total is not None and total > LARGEST:
            raise UserError(_too_long(total))
        if answer.status_code != 200 and held != f"bytes {start}-{(total or 0) - 1}/{total}":
            part.unlink()  # it is no beginning of what the server has
            return _receive(session, url, part)
        if answer.status_code == 200:
            start = 0
            part.unlink(missing_ok=True)  # before the word on where it comes from changes
            _source(part).write_text(url, encoding="utf-8")
        _store(answer, part, start, total)
    return start


def _total(answer: requests.Response) -> int | None:
    """The size of the whole file; None if the server does not say."""
    size = answer.headers.get("Content-Range", "").rpartition("/")[2] or answer.headers.get("Content-Length")
    return int(size) if size and re.fullmatch(r"\d{1,15}", size) else None


def _store(answer: requests.Response, part: Path, start: int, total: int | None) -> None:
    received = start
    try:
        with part.open("ab") as file, _progress(str(answer.url), start, total) as advance:
            for chunk in answer.raw.stream(CHUNK, decode_content=False):
                received += len(chunk)
                if received > (LARGEST if total is None else total):
                    raise UserError(_too_long(received))
                file.write(chunk)
                advance(len(chunk))
            file.flush()
            os.fsync(file.fileno())
    except UserError:
        part.unlink()
        raise
    except OSError as error:  # of the disk: what the network raises is none
        error.filename = str(part)
        raise UserError(
            f"{explained(error)} {part.stat().st_size} bytes of it are kept"
            f"{'' if total is None else f', {total} are needed'}; fetch again, it goes on there"
        ) from None
    if total is not None and received < total:
        raise urllib3.exceptions.IncompleteRead(received - start, total - received)


def _source(part: Path) -> Path:
    return part.with_name(f"{part.name}.url")


def _begun(part: Path, url: str) -> int:
    """The bytes there are of this address."""
    is_of_this = part.exists() and _source(part).exists() and _source(part).read_text(encoding="utf-8") == url
    return part.stat().st_size if is_of_this else 0


def _too_long(size: int) -> str:
    return f"the file has {size} bytes or more, which is more than was announced or than any accepted copy has"


def _broken(part: Path, error: Exception) -> str:
    if isinstance(error, requests.exceptions.SSLError):
        return _encryption_failed(error)
    if isinstance(error, requests.exceptions.ProxyError):
        return _proxy_failed(error)
    if not part.exists():
        return f"the server cannot be reached or does not answer ({_innermost(error)})"
    size = part.stat().st_size
    return f"the connection broke {len(PAUSES) + 1} times; {size} bytes are kept: fetch again, it goes on there"


def _encryption_failed(error: Exception) -> str:
    reason = _innermost(error)
    if "ertificate" not in reason:
        return f"the encrypted connection failed ({reason})"
    return (
        f"the server's certificate is not accepted ({reason}). Where a network or a mirror signs with a certificate of "
        "its own, REQUESTS_CA_BUNDLE=FILE names the certificates to accept (SSL_CERT_FILE is not read)"
    )


def _proxy_failed(error: Exception) -> str:
    reason = _innermost(error)
    if "407" in reason:
        return PROXY_PASSWORD
    return f"the proxy that http_proxy, https_proxy or all_proxy names does not let it pass ({reason})"


def _innermost(error: BaseException) -> str:
    """What the innermost of nested errors of requests and urllib3 says."""
    while True:
        inner = getattr(error, "reason", None) or getattr(error, "original_error", None) or next(iter(error.args), None)
        if not isinstance(inner, BaseException):
            break
        error = inner
    words = getattr(error, "verify_message", "") or str(error).split(": ", 1)[-1] or type(error).__name__
    return f"{words:.200}"


@contextmanager
def _progress(url: str, start: int, total: int | None) -> Iterator[Callable[[int], None]]:
    """A live bar when a person watches, one line in a log."""
    if not sys.stderr.isatty():
        of = f" of {total}" if total else ""
        print(f"Downloading {url}, from byte {start}{of}", file=sys.stderr, flush=True)
        yield lambda _: None
        return
    columns = (BarColumn(20), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(TextColumn("{task.description}", markup=False), *columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(url.rsplit("/", 1)[-1], total=total, completed=start)
        yield lambda size: bar.advance(task, size)
