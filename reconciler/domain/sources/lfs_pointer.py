"""Files that Git LFS keeps elsewhere: where its own smudge filter did not run, a short text that names the content lies
in the file's place."""

import re

from reconciler.domain.errors import InputRefused

MARK = b"version https://git-lfs.github.com/spec/"
LONGEST = 1024  # bytes: Git LFS takes nothing longer for a pointer
HINT = "`git lfs pull` fetches it; --repo does not: there, name the hub or an allowed folder (docs/git.md)"


def refuse_pointer(data: bytes) -> None:
    """Raises InputRefused where `data`, a file's beginning, is a pointer."""
    if data.startswith(MARK):  # guard: a pointer is not the file
        size = re.search(rb"^size (\d{1,15})$", data[:LONGEST], re.MULTILINE)
        stands_for = f" that stands for {int(size[1]):,} bytes" if size else ""
        raise InputRefused("LfsPointer", f"expected the file itself, got a Git LFS pointer{stands_for}", HINT)
