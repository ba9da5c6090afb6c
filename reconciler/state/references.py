"""Reference answers of artifacts, one sealed document for each build key: a few tens of kilobytes that only a rehearsal
reads. One that is damaged counts as none; the gate says so."""

import os
from collections.abc import Iterable

from reconciler.domain import digest
from reconciler.domain.plain_data import as_dict
from reconciler.domain.reference import Reference
from reconciler.gates import reference as form
from reconciler.host import durable
from reconciler.host.codec import Damaged, seal, unseal
from reconciler.host.reading import read_whole
from reconciler.state.documents import ENDING, names_in


class References:
    def __init__(self, folder: str) -> None:
        self.folder = folder

    def read(self, build_key: str) -> Reference | None:
        try:
            return form.read(digest.canonical(unseal(read_whole(self._path(build_key)))), build_key)
        except (OSError, Damaged):
            return None

    def write(self, reference: Reference, known: Iterable[str]) -> None:
        """Those of build keys that are not `known` any more go."""
        kept = {self._name(key) for key in (*known, reference.build_key)}
        for name in set(names_in(self.folder)) - kept:
            durable.remove_file(os.path.join(self.folder, name + ENDING))
        data = seal(as_dict(reference))
        path = self._path(reference.build_key)
        durable.make_folder(self.folder)
        durable.write_file(path, data)

    def forget(self, build_key: str) -> None:
        path = self._path(build_key)
        if os.path.lexists(path):
            durable.remove_file(path)

    def _path(self, build_key: str) -> str:
        return os.path.join(self.folder, self._name(build_key) + ENDING)

    @staticmethod
    def _name(build_key: str) -> str:
        return build_key.rpartition(":")[2]
