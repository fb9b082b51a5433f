"""What the operating system refuses is told by what it is."""

import errno
import os

import pytest

from eps_resnet.files.errors import explained


def error(number: int, filename: str | None = "results/x") -> OSError:
    return OSError(number, os.strerror(number), filename)


@pytest.mark.parametrize("number", sorted(errno.errorcode))
def test_space_is_asked_for_where_there_is_none_and_nowhere_else(number: int) -> None:
    words = explained(error(number))
    assert os.strerror(number) in words
    assert "results/x" in words
    assert ("Free some space" in words) == (number in (errno.ENOSPC, errno.EDQUOT))


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.EACCES, "Its owner can allow it"),
        (errno.EROFS, "Choose a folder you may write to"),
        (errno.EMFILE, "ulimit -n"),
        (errno.ENAMETOOLONG, "shorter path"),
        (errno.ESTALE, "network file system"),
    ],
)
def test_a_refusal_has_its_own_remedy(number: int, remedy: str) -> None:
    assert remedy in explained(error(number))


def test_an_error_without_a_file_or_a_number_still_says_its_reason() -> None:
    assert explained(error(errno.ENOSPC, None)).startswith("A file cannot be written: No space left on device. Free")
    assert explained(OSError("invalid path: /gone.pem")) == "The operating system refuses: invalid path: /gone.pem."
    assert "None" not in explained(OSError())
    assert explained(OSError(errno.EACCES, "Permission denied", b"a\xff")).startswith("a\ufffd cannot be read")
