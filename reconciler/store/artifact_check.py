"""What a conversion may have produced: plain files that are data. A link could lead anywhere, a FIFO could
block, and code would run in the process that loads the model."""

import os
import stat

from reconciler.domain.errors import PermanentError
from reconciler.store.modelpack import is_safe_path

CODE = (".so", ".dll", ".dylib", ".py", ".pkl", ".pt", ".bin")
HINT = "an artifact holds ONNX files, tokenizer data and settings only; look into the log of the conversion"


def files_in(tree: str) -> tuple[str, ...]:
    """Relative paths with forward slashes, sorted. Raises PermanentError for what may not be stored."""
    found = tuple(sorted(_walk(tree, "")))
    if not found:
        raise PermanentError(f"{tree} holds no files", hint=HINT, code="ArtifactEmpty")
    for path in found:
        if not _is_data(path):
            _refuse(path, "is not data")
    return found


def _walk(folder: str, prefix: str) -> list[str]:
    found: list[str] = []
    for name in os.listdir(folder):
        path, relative = os.path.join(folder, name), prefix + name
        kind = os.lstat(path).st_mode
        if stat.S_ISDIR(kind):
            found += _walk(path, relative + "/")
        elif stat.S_ISREG(kind):  # guard: no link in an artifact
            found.append(relative)
        else:
            _refuse(relative, "is a link" if stat.S_ISLNK(kind) else "is not a regular file")
    return found


def _is_data(path: str) -> bool:
    name = path.lower()
    encodable = path.isprintable()  # also false for bytes that are no UTF-8
    # guard: no code in an artifact
    return encodable and is_safe_path(path) and not name.endswith(CODE) and ".so." not in name


def _refuse(path: str, why: str) -> None:
    raise PermanentError(f"the converted model holds {path!r}, which {why}", hint=HINT, code="ArtifactRefused")
