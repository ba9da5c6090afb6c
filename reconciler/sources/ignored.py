"""`.reconcilerignore`: files beside manifests that are none, in the form of `.gitignore`. It lies in the folder of
manifests; what it names is not read at all."""

from collections.abc import Callable
from typing import Any

from reconciler.domain.errors import InputRefused
from reconciler.manifests.manifest_text import is_manifest

IGNORE_NAME = ".reconcilerignore"
IGNORE_BYTES = 64 << 10

Ignores = Callable[[str], bool]  # by path relative to the folder of manifests; that of a folder ends in a slash


def nothing_ignored(_: str) -> bool:
    return False


def ignores(data: bytes) -> Ignores:
    """Raises InputRefused for what is no list of patterns."""
    try:
        lines = data.decode("utf-8-sig").splitlines()
        spec = _spec(lines)
    except ValueError as error:  # what pathspec and the decoder raise
        message = f"expected patterns as in .gitignore: {str(error).splitlines()[0][:120]}"
        raise InputRefused("IgnoreInvalid", message) from None
    return lambda path: any(map(spec.match_file, _with_folders(path)))


def _with_folders(path: str) -> list[str]:
    """As in git, nothing in a folder that is left out can be taken in again. Endings of manifests count in any case, so
    `values*.yaml` leaves `values.YAML` out too."""
    parts = path.rstrip("/").split("/")
    stem, dot, ending = path.rpartition(".")
    usual = [f"{stem}{dot}{ending.lower()}"] if is_manifest(path) else []
    return ["/".join(parts[: depth + 1]) + "/" for depth in range(len(parts) - 1)] + [path, *usual]


def _spec(lines: list[str]) -> Any:
    from pathspec import GitIgnoreSpec  # only where there is such a file

    return GitIgnoreSpec.from_lines(lines)
