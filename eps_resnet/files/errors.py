"""Errors in words for the person at the keyboard: a user's mistakes, and what the operating system refuses."""

import errno
from collections.abc import Sequence


class UserError(Exception):
    """Something the user can mend. The message says what was expected, what was found and what to do.

    The command line prints it as one sentence, without a traceback, and exits with 1.
    """


def some(names: Sequence[str], most: int) -> str:
    """The first names of a list that may be long, and how many there are besides."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


NO_SPACE = {errno.ENOSPC, errno.EDQUOT}
UNWRITABLE = NO_SPACE | {errno.EFBIG, errno.EROFS}
WRITABLE = "choose a folder you may write to: --root, of Snakemake --config root="
REMEDIES = {
    **dict.fromkeys(NO_SPACE, f"Free some space, or {WRITABLE}"),
    errno.EFBIG: "A limit on the size of files is in the way, of the shell (`ulimit -f`) or of the file system",
    errno.EROFS: WRITABLE.capitalize(),
    errno.EACCES: f"Its owner can allow it to you (`ls -l` says who that is); or {WRITABLE}",
    errno.EPERM: f"Its owner can allow it to you (`ls -l` says who that is); or {WRITABLE}",
    errno.ENOENT: "It was expected there; was it moved or deleted meanwhile?",
    errno.ENOTDIR: "A file stands where a folder was expected",
    errno.EISDIR: "A folder stands where a file was expected",
    errno.EEXIST: "Something else stands in its place",
    errno.ENAMETOOLONG: "Move the project to a folder with a shorter path",
    errno.EMFILE: "Raise the limit on open files: `ulimit -n 4096`",
    errno.ENFILE: "This machine has too many files open; try again when there are fewer",
    errno.ENOMEM: "There is no memory left; let less run beside it",
    errno.ESTALE: "The network file system lost it; try again when the folder can be listed",
    errno.EIO: "The disk or the network file system failed; see its log before you trust what lies there",
}


def explained(error: OSError) -> str:
    """What the operating system refused, why, and what to do about it."""
    done = "written" if error.errno in UNWRITABLE else "read or written"
    reason = error.strerror or str(error) or type(error).__name__
    remedy = f" {remedy}." if (remedy := REMEDIES.get(error.errno or 0)) else ""
    if not error.filename and error.errno not in UNWRITABLE:
        return f"The operating system refuses: {reason}.{remedy}"
    return f"{_name(error.filename)} cannot be {done}: {reason}.{remedy}"


def _name(filename: object) -> str:
    if isinstance(filename, bytes):
        return filename.decode(errors="replace")
    return str(filename or "A file")
