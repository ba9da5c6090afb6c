"""Files that Git LFS keeps elsewhere: where its own smudge filter did not run, a short text that names the content lies
in the file's place. Its form: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md
"""

import re
from dataclasses import dataclass

from reconciler.domain.errors import InputRefused

MARK = b"version https://git-lfs.github.com/spec/"
LONGEST = 1024  # bytes: Git LFS takes nothing longer for a pointer
HINT = "`git lfs pull` fetches it; --repo with an https address does so itself, for model folders alone (docs/git.md)"

# Without extensions (`ext-0-...`): what they make of the content is another file.
_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\noid sha256:(?P<oid>[0-9a-f]{64})\nsize (?P<size>\d{1,13})\n?"
)


@dataclass(frozen=True, kw_only=True)
class LfsPointer:
    """`oid` is the sha256 of the content, in hex; `size` is in bytes."""

    oid: str
    size: int


def is_pointer(data: bytes) -> bool:
    """Whether a file that begins so is meant as one, also where its form is wrong."""
    return data.startswith(MARK)


def read_pointer(data: bytes) -> LfsPointer | None:
    """From all bytes of a file; None for another form than this program follows."""
    found = _POINTER.fullmatch(data) if len(data) < LONGEST else None
    return LfsPointer(oid=found["oid"].decode(), size=int(found["size"])) if found else None


def refuse_pointer(data: bytes) -> None:
    """Raises InputRefused where `data`, a file's beginning, is a pointer."""
    if is_pointer(data):  # guard: a pointer is not the file
        size = re.search(rb"^size (\d{1,15})$", data[:LONGEST], re.MULTILINE)
        stands_for = f" that stands for {int(size[1]):,} bytes" if size else ""
        raise InputRefused("LfsPointer", f"expected the file itself, got a Git LFS pointer{stands_for}", HINT)
