"""Where things lie under one root. Names only; nothing here touches the disk."""

import os.path


class Layout:
    """The folders of one root (absolute path). All on one file system, so renames are atomic."""

    __slots__ = ("root",)

    def __init__(self, root: str) -> None:
        self.root = root

    def at(self, *parts: str) -> str:
        return os.path.join(self.root, *parts)

    @property
    def oci(self) -> str:
        """The artifact store: an OCI image layout."""
        return self.at("oci")

    @property
    def served(self) -> str:
        """`<variant>/<n>/`: what Foundry Local loads."""
        return self.at("served")

    @property
    def staging(self) -> str:
        """Half-made things; everything in it may be swept at the start of a pass."""
        return self.at("staging")

    @property
    def trash(self) -> str:
        """Things already unnamed, waiting for their bytes to be freed."""
        return self.at("trash")

    @property
    def records(self) -> str:
        return self.at("records")

    @property
    def suspended(self) -> str:
        """The suspensions and the lock that guards them alone: a person changes them beside a running pass."""
        return self.at("records", "suspended")

    @property
    def logs(self) -> str:
        """One log per conversion or rehearsal attempt."""
        return self.at("logs")

    @property
    def lock(self) -> str:
        return self.at("lock")

    @property
    def owner(self) -> str:
        """The random mark that this root puts on all it creates. Outside records/: it survives their loss."""
        return self.at("owner")

    def served_release(self, variant: str, number: int) -> str:
        return self.at("served", variant, str(number))
