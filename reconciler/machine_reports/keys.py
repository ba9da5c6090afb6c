"""The public keys of machines: a folder with one file `<machine>.pub` for each, such as one in git. A new machine is a
new file, so two people who add machines never conflict, and a review shows each."""

import base64
import os
import re
from functools import cache

from reconciler.domain.digest import of_bytes
from reconciler.host import durable
from reconciler.registry.signing_keys import KeyUnusable, VerificationKey, id_of

ENDING = ".pub"
LONGEST_NAME = 100  # characters: of a tag too
_PLAIN = re.compile(rf"(?=.{{1,{LONGEST_NAME}}}$)[a-z0-9][a-z0-9._-]*(?<!\.)")
# On Windows, and what stands for other names.
_TAKEN = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?|m-.*-[0-9a-f]{12}")


def entry_name(machine: str) -> str:
    """A machine's name where files and tags are named by it: as it is, where each of them may be called so, and no two
    are alike where capitals count for nothing; else something like it, and a part of its digest."""
    if _PLAIN.fullmatch(machine) and not _TAKEN.fullmatch(machine):
        return machine
    like = re.sub(r"[^a-z0-9._-]", "_", machine.lower())[:LONGEST_NAME]
    return f"m-{like}-{of_bytes(machine.encode())[7:19]}"


class KeyFolder:
    """Reads each key once. "" is no folder: no machine is known."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.find = cache(self._find)

    def names(self) -> frozenset[str]:
        """The machines that are known, as their files are called."""
        return self.listed() if self.folder and os.path.isdir(self.folder) else frozenset()

    def listed(self) -> frozenset[str]:
        """The same, where the folder has to be there. Raises OSError."""
        return frozenset(name.removesuffix(ENDING) for name in os.listdir(self.folder) if name.endswith(ENDING))

    def path(self, machine: str) -> str:
        return os.path.join(self.folder, entry_name(machine) + ENDING)

    def _find(self, machine: str) -> VerificationKey | None:
        """None for a machine that is not known. Raises KeyUnusable for a file that is no key."""
        if not self.folder or not os.path.lexists(self.path(machine)):
            return None
        return VerificationKey(self.path(machine))

    def add(self, machine: str, public: bytes) -> str:
        """Trust on first use: the file that was written. Another machine's key is never replaced. `public` is in DER
        form. Raises KeyUnusable where it is no key, or the file is there."""
        path = self.path(machine)
        if os.path.lexists(path):
            raise KeyUnusable(f"{path} is there already", hint="compare both, and remove the wrong one by hand")
        text = base64.b64encode(public).decode()
        lines = [text[start : start + 64] for start in range(0, len(text), 64)]
        durable.make_folder(self.folder)
        durable.write_file(
            path, "\n".join(("-----BEGIN PUBLIC KEY-----", *lines, "-----END PUBLIC KEY-----\n")).encode()
        )
        self.find.cache_clear()
        try:
            assert VerificationKey(path).id == id_of(public)
        except KeyUnusable:
            durable.remove_file(path)
            raise
        return path
