"""Take the files of a ready ONNX folder as they are: each is copied, and compared with what the plan saw."""

import os
from collections.abc import Callable, Sequence
from itertools import accumulate

from reconciler.domain.digest import StoredFile
from reconciler.domain.errors import ConversionFailed, InputRefused
from reconciler.host import durable
from reconciler.sources.folder.guarded_folder import Folder


def take_files(
    folder: str, files: Sequence[StoredFile], tree: str, on_bytes: Callable[[int, int], None] = lambda done, total: None
) -> None:
    """Into `tree`, a new folder. `on_bytes` is called with the bytes so far and of all; what it raises ends it. Raises
    ConversionFailed for a file that has changed since the plan."""
    durable.make_folder(tree)
    total = sum(file.size for file in files)
    before = accumulate((file.size for file in files), initial=0)
    for file, done in zip(files, before, strict=False):

        def report(count: int, done: int = done) -> None:
            on_bytes(done + count, total)

        _take(folder, file, tree, report)


def _take(folder: str, file: StoredFile, tree: str, on_bytes: Callable[[int], None]) -> None:
    try:
        Folder(folder).size(file.path)  # refuses what leads out of the folder by now
        path = os.path.join(folder, file.path)
        found, _ = durable.copy_hashed(path, os.path.join(tree, file.path), on_bytes=on_bytes)
    except (InputRefused, FileNotFoundError) as error:
        raise ConversionFailed(f"{file.path}: {error}", code="SourceChanged") from None
    if found != file.digest:  # guard: what is taken is what the plan saw
        raise ConversionFailed(f"{file.path} has changed since the plan", code="SourceChanged")
