"""Where things lie under one root. Names only; nothing here touches the disk."""

import os.path

# Everything in these folders is temporary.
DISPOSABLE = ("staging", "trash", "sources/staging", "sources/trash", "sources/hub/trash")
# Folders in staging. What empties it leaves alone those that something still works in.
WORK = "work"  # in it, a folder for each long job
CLAIMS = "claims"
RECORDS = ("records", "records/variants", "records/history", "records/suspended", "records/references")


# What a file manager writes into a folder that somebody opens (macOS, Windows): neither content nor foreign. Such a
# file is left where it is, counts nowhere, and goes with its folder.
_OF_FILE_MANAGERS = frozenset({".ds_store", "thumbs.db", "desktop.ini"})


def is_of_file_manager(name: str) -> bool:
    """By the last part of a path; only a plain file is one."""
    return name.casefold() in _OF_FILE_MANAGERS


class Layout:
    """The folders of one root (absolute path). All on one file system, so renames are atomic."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.oci = self.at("oci")  # the artifact store: an OCI image layout
        self.served = self.at("served")  # `<variant>/<n>/`: what Foundry Local loads
        self.staging = self.at("staging")  # half-made; swept at the start of a pass
        self.work = self.at("staging", WORK)
        self.converting = self.at("staging", WORK, "converting")  # all that the converter's sandbox can write
        self.trash = self.at("trash")  # unnamed already, waiting for their bytes to be freed
        self.records = self.at("records")
        # The suspensions and the lock that guards them alone: a person changes them beside a running pass.
        self.suspended = self.at("records", "suspended")
        self.logs = self.at("logs")  # one log per conversion or rehearsal attempt
        self.lock = self.at("lock")
        self.owner = self.at("owner")  # the mark on all that this root makes; outside records/: it survives their loss

    def at(self, *parts: str) -> str:
        return os.path.join(self.root, *parts)

    def served_release(self, variant: str, number: int) -> str:
        return self.at("served", variant, str(number))
