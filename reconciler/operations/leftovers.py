"""What dead processes leave in a root: the folders to look into, and how `doctor`, `gc` and `verify` list them."""

import os
import stat

# Everything in these folders is temporary.
DISPOSABLE = ("staging", "trash", "sources/staging", "sources/trash", "sources/hub/trash")
RECORDS = ("records", "records/variants", "records/history", "records/suspended")


def is_folder(path: str) -> bool:
    """False for a symbolic link."""
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False
