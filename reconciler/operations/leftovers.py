"""What dead processes leave in a root: the folders to look into, and how `doctor`, `gc` and `verify` list them."""

import os

# Everything in these folders is temporary.
DISPOSABLE = ("staging", "trash", "sources/staging", "sources/trash", "sources/hub/trash")
RECORDS = ("records", "records/variants", "records/history", "records/suspended")


def is_folder(path: str) -> bool:
    """False for a symbolic link."""
    return os.path.isdir(path) and not os.path.islink(path)
