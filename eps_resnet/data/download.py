"""One file by HTTP: continued where it broke off, bounded in size, and put in its place when it is whole."""

import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urljoin

import requests
import urllib3
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from eps_resnet.files.atomic import read_json
from eps_resnet.files.errors import UserError, explained

LARGEST = 2 << 30  # bytes of a file; SVHN's extra images, the largest there is, have 1.3 GB
TIMEOUT = (10, 60)  # seconds to connect, and without a byte
PAUSES = (1, 2, 4, 8)  # seconds before a connection that broke is made anew
REDIRECTS = 5
CHUNK = 64 << 10  # bytes asked for at a time: as many may be lost where a connection breaks
IDENTIFYING = ("ETag", "Last-Modified")
PROXY_PASSWORD = (
    "the proxy wants a name and a password: https_proxy=http://NAME:PASSWORD@HOST:PORT, or http_proxy for http://"
)
BROKEN = (requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError)


def download(url: str, target: Path) -> bool:
    """Downloads a file to `target`. Returns whether it was put together from the answers to several requests.

    Until it is whole it lies beside `target` as NAME.part, and NAME.part.json says what identifies it on the server.
    Raises UserError if it cannot be had whole; what has come is kept for the next call, unless it is too long.
    """
    part = target.with_name(f"{target.name}.part")
    target.parent.mkdir(parents=True, exist_ok=True)
    with _Session() as session:
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
    _identity(part).unlink(missing_ok=True)
    return start > 0


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """None: redirects are followed by `_answer`, since requests would read what comes with one to its end."""
        return None


def _receive(session: requests.Session, url: str, part: Path) -> int:
    """Completes the part, and returns how many of its bytes were there before this request."""
    start = _begun(part, url)
    with _answer(session, url, _range(part, start)) as answer:
        if answer.status_code == 407:
            raise UserError(PROXY_PASSWORD)
        if answer.status_code not in ((200, 206, 416) if start else (200,)):
            raise UserError(f"the server answers {answer.status_code} {answer.reason}")
        if answer.status_code == 416 and answer.headers.get("Content-Range") == f"bytes */{start}":
            return start  # it was whole already
        total = _total(answer)
        if total is not None and total > LARGEST:
            raise UserError(_too_long(total))
        if start and not _continues(answer, part, start):
            part.unlink()
            start = 0
            if answer.status_code != 200:
                answer.close()
                return _receive(session, url, part)
        if not start:
            part.unlink(missing_ok=True)  # before what identifies it changes
            _identity(part).write_text(json.dumps({"url": url, **_identification(answer)}), encoding="utf-8")
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


def _answer(session: requests.Session, url: str, headers: dict[str, str]) -> requests.Response:
    for _ in range(REDIRECTS + 1):
        # identity: sizes and ranges are those of the file as it lies there.
        headers = {**headers, "Accept-Encoding": "identity"}
        answer = session.get(url, headers=headers, stream=True, timeout=TIMEOUT)
        if not answer.is_redirect:
            return answer
        answer.close()
        url = urljoin(url, answer.headers["Location"])
        if not url.startswith(("http://", "https://")):
            raise UserError(f"the server redirects to {url[:200]}; expected an http:// or https:// address")
    raise UserError(f"the server redirects more than {REDIRECTS} times, at last to {url[:200]}")


def _identity(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _identification(answer: requests.Response) -> dict[str, str]:
    """What tells this version of the file from others: its strong ETag, or else the time of its last change."""
    names = [n for n in IDENTIFYING if n in answer.headers and not answer.headers[n].startswith("W/")]
    return {name: answer.headers[name] for name in names[:1]}


def _known(part: Path) -> dict[str, str]:
    document = read_json(_identity(part))
    return document if isinstance(document, dict) else {}


def _begun(part: Path, url: str) -> int:
    """The bytes there are, if they are of this address and the server can tell whether they are still right."""
    known = _known(part)
    is_of_this = known.get("url") == url and any(name in known for name in IDENTIFYING)
    return part.stat().st_size if is_of_this and part.exists() else 0


def _range(part: Path, start: int) -> dict[str, str]:
    if not start:
        return {}
    known = _known(part)
    return {"Range": f"bytes={start}-", "If-Range": next(known[name] for name in IDENTIFYING if name in known)}


def _continues(answer: requests.Response, part: Path, start: int) -> bool:
    """Whether the answer is the rest of the very file of which the part is the beginning."""
    known = {name: value for name, value in _known(part).items() if name in answer.headers}
    held, total = answer.headers.get("Content-Range"), _total(answer) or 0
    return (
        answer.status_code == 206
        and held == f"bytes {start}-{total - 1}/{total}"
        and all(answer.headers[name] == known[name] for name in known)
    )


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
