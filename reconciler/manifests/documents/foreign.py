"""Documents of other programs beside manifests: Kubernetes objects, charts, kustomizations. They are left out and named
once. What might be one of ours, mistyped, is none of them: it stays a problem, and nothing is pruned for it."""

import posixpath
from collections.abc import Iterator, Sequence

from reconciler.domain.errors import Problem
from reconciler.domain.manifest import API_VERSION
from reconciler.domain.text.quoting import few, nearest, shown
from reconciler.manifests.loader import YamlDocument
from reconciler.manifests.schema import KINDS

GROUP = API_VERSION.partition("/")[0]
KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml")  # kustomize takes them without apiVersion and kind
COMMON = frozenset({"policy"})  # kinds of ours that other programs have too
MOST_NAMED = 3

_WORDS = GROUP.split(".")
_OURS = {kind.lower() for kind in KINDS}


def is_foreign(document: YamlDocument, name: str) -> bool:
    """`name` is that of its file."""
    data = document.data
    if not isinstance(data, dict) or {"apiVersion", "kind"} & {problem.field for problem in document.problems}:
        return False
    version, kind = data.get("apiVersion"), data.get("kind")
    if version is None and kind is None:
        return posixpath.basename(name) in KUSTOMIZATIONS
    # guard: what might be a manifest is not left out
    return isinstance(version, str) and bool(version) and not _might_be_ours(version, kind)


def _might_be_ours(version: str, kind: object) -> bool:
    group, slash, _ = version.lower().partition("/")
    if any(word in version.lower() for word in _WORDS) or nearest(group, [GROUP]):
        return True
    word = kind.lower() if isinstance(kind, str) else ""
    return word in _OURS and not (slash and word in COMMON)


def left_out(found: Sequence[tuple[YamlDocument, str]]) -> Iterator[Problem]:
    """One warning for all of them, with their files."""
    if not found:
        return
    named = [f"{file}:{document.line(())} ({_what(document)})" for document, file in found]
    many = "documents of other programs are" if len(found) > 1 else "document of another program is"
    message = f"{len(found)} {many} left out: {few(named, MOST_NAMED)}"
    document, file = found[0]
    hint = "a file that is none of ours can be named in .reconcilerignore; then nothing is said of it"
    yield Problem(code="DocumentsLeftOut", file=file, line=document.line(()), message=message, hint=hint)


def _what(document: YamlDocument) -> str:
    data = document.data if isinstance(document.data, dict) else {}
    return shown(" ".join(str(data[key]) for key in ("apiVersion", "kind") if key in data)) or "a kustomization"
