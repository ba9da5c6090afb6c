"""`<root>/imported`: the files of the commit that was imported last, where they lay in its repository, so that a folder
of manifests is read there as anywhere else. Weights do not come with it: in the place of each model folder, and for
each source from the hub, lies what its conversion is known by (`sources.facts`).

    .reconciler-import.json              what it came from (`ImportMark`)
    manifests/phi.yaml                   a file of the commit
    models/phi/.reconciler-model.json    in the place of a model folder; .reconciler-adapter.json of an adapter
    .reconciler-hub/<sha256>.json        for a source from the hub, by the digest of its lock entry
"""

import os
from dataclasses import dataclass
from pathlib import Path

from reconciler.domain.layout import Layout
from reconciler.host.codec import Codec, Damaged, Misformed, seal, unseal
from reconciler.host.reading import read_whole

MARK, HUB = ".reconciler-import.json", ".reconciler-hub"
MODEL_FACTS, ADAPTER_FACTS = ".reconciler-model.json", ".reconciler-adapter.json"


@dataclass(frozen=True, kw_only=True)
class ImportMark:
    """`archive` is the digest of the archive's index; `revision` names the commit, `folder` the manifests in it, and
    `declared` what they declared when they came (the revision of a folder): an edit by hand is another one. `when` is
    RFC 3339, UTC."""

    archive: str
    revision: str
    folder: str
    declared: str
    when: str


_CODEC = Codec(ImportMark)


def imported_folder(layout: Layout) -> str:
    return layout.at("imported")


def mark_bytes(mark: ImportMark) -> bytes:
    return seal(_CODEC.write(mark))


def read_mark(folder: str) -> ImportMark | None:
    """Of what was imported into this folder; None where nothing was."""
    try:
        return _CODEC.read(unseal(read_whole(os.path.join(folder, MARK), 1 << 16)))
    except (OSError, Damaged, Misformed, ValueError):
        return None


def mark_above(folder: str) -> ImportMark | None:
    """Of the import that a folder of manifests (absolute) belongs to."""
    above = (folder, *map(str, Path(folder).parents))
    return next((read_mark(one) for one in above if os.path.lexists(os.path.join(one, MARK))), None)


def hub_facts(digest: str) -> str:
    """Where the facts of a source from the hub lie, in a folder of imports."""
    return f"{HUB}/{digest.removeprefix('sha256:')}.json"
