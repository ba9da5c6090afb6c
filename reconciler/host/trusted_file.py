"""Read a file that decides whom this machine trusts: only if nobody else can have written it."""

import os
import stat

from reconciler.domain.errors import ReconcilerError
from reconciler.host.reading import FLAGS


class NotTrusted(ReconcilerError):
    code = "NotTrusted"


def read_trusted(path: str, limit: int) -> bytes:
    """OSError when it cannot be read; NotTrusted when somebody else can write it, or its folder."""
    descriptor = os.open(path, FLAGS)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise NotTrusted(f"{path} is not a regular file")
        _judge(path, status)
        folder = os.path.dirname(os.path.realpath(path))
        _judge(folder, os.stat(folder))
        if status.st_size > limit:
            raise NotTrusted(f"{path} is longer than {limit} bytes")
        return os.read(descriptor, limit)
    finally:
        os.close(descriptor)


def _judge(path: str, status: os.stat_result) -> None:
    """Windows has no modes; there the folder's own rights must do (docs/configuration.md)."""
    if os.name == "nt":
        return
    ours = (0, os.geteuid())
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid not in ours:
        hint = "chown it to root or to the user that runs reconciler: it decides whom this machine trusts"
        raise NotTrusted(f"{path} belongs to another user (uid {status.st_uid})", hint=hint)
    if stat.S_ISDIR(status.st_mode) and mode & stat.S_ISVTX:
        return  # as /tmp: nobody can replace another's file in there
    if (
        mode & stat.S_IWOTH  # guard: a configuration that others can write
        or (mode & stat.S_IWGRP and status.st_gid not in (0, os.getegid()))
    ):
        who = "everybody" if mode & stat.S_IWOTH else f"group {status.st_gid}"
        raise NotTrusted(f"{path} can be written by {who} (mode {mode:o})", hint=f"chmod go-w {path}")
