"""One Snakemake at a time in a working folder: who holds it, and how to release it after a kill.

Snakemake's own lock does not say who holds it, and stays after a kill. Beside it, each call that makes something holds
a lock of the kernel's, which goes with its process.
"""

import socket
import subprocess
import sys
from pathlib import Path
from typing import IO

from eps_resnet.files import lock
from eps_resnet.files.errors import UserError

LOCK = Path(".snakemake/owner.lock")
SNAKEMAKES = Path(".snakemake/locks")  # Snakemake's own, of the file persistence

_claims: list[IO[str]] = []  # open lock files: the folder stays claimed as long as this process lives


def claim() -> None:
    """Claims the working folder for this process. Raises UserError, naming the owner, if another has it, or had it."""
    former = lock.owner_of(LOCK)
    file = _claim()
    if _is_locked():
        file.close()
        raise UserError(
            f"This folder is still locked by {former or 'a Snakemake'}, which was killed: nothing runs here any more. "
            "`eps-resnet unlock` releases it; then give the same command again. Finished runs stay, others resume."
        )
    lock.sign(file)
    _claims.append(file)


def require_no_owner() -> None:
    """Raises UserError, naming the owner, if another process has the working folder, or had it on another machine."""
    former = lock.owner_of(LOCK)
    with _claim():
        if former is not None and former.host != socket.gethostname() and _is_locked():
            raise UserError(
                f"The lock is that of {former}. Whether that process lives can only be seen there: run "
                f"`eps-resnet unlock` on {former.host}."
            )


def unlock() -> str:
    """Releases what a killed Snakemake left, and says whose it was. Raises UserError if its owner may be alive."""
    if not _is_locked():
        return "Nothing is locked."
    require_no_owner()
    former = lock.owner_of(LOCK)
    process = subprocess.run(
        [sys.executable, "-m", "snakemake", "--unlock"], capture_output=True, encoding="utf-8", errors="replace"
    )
    if process.returncode or _is_locked():
        raise UserError(f"`snakemake --unlock` failed:\n{process.stdout}{process.stderr}")
    return f"Released the lock of {former or 'a Snakemake'}, which no longer lives."


def _claim() -> IO[str]:
    file = lock.claim(LOCK)
    if file is None:
        raise UserError(
            f"This folder is in use by {lock.owner_of(LOCK) or 'another Snakemake'}. Wait until it has ended, or stop "
            "it. Nothing was changed."
        )
    return file


def _is_locked() -> bool:
    return any(SNAKEMAKES.glob("*.lock"))
