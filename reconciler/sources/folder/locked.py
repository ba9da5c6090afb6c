"""LockedFolder: a model folder of which only the small files are here. What is asked about the others, the lock
answers."""

import os

from reconciler.domain.errors import InputRefused
from reconciler.domain.sources.locked import LockedSource
from reconciler.sources.folder.guarded_folder import Folder


class LockedFolder(Folder):
    """The caller has compared the files that are here with the lock."""

    def __init__(self, path: str, source: LockedSource) -> None:
        super().__init__(path)
        self._files = {file.path: file for file in source.files}

    def names(self) -> list[str]:
        return sorted(self._files)

    def exists(self, name: str) -> bool:
        return name in self._files

    def size(self, name: str) -> int:
        if not os.path.isfile(os.path.join(self.path, name)) and not name.endswith(".safetensors"):
            raise InputRefused("FileUnreadable", "not fetched")
        return self._files[name].size

    def digest(self, name: str) -> str:
        return f"sha256:{self._files[name].sha256}"
