"""May a manifest name this path? Decided by spelling before the disk is asked, so that a manifest cannot find out what
exists elsewhere, and again by where the path really leads, so that no symlink leads out."""

import os.path
import posixpath
import re
import sys
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from reconciler.domain.errors import InputRefused
from reconciler.domain.text.quoting import readable, shown
from reconciler.manifests.parsed import Place
from reconciler.templates.rendering import RenderFixture

_DRIVE = re.compile(r"[A-Za-z]:")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True, kw_only=True)
class ParseContext:
    """What a parse may know of the disk, and what renders templates for it.

    `base` is the real folder of the manifests and `prefix` how people name it; `checkout` is the real folder that
    relative paths may not leave; `roots` are further real folders that the operator allows, also by absolute path.
    """

    base: str
    prefix: str
    checkout: str
    roots: tuple[str, ...]
    place: Callable[[str], Place]
    read: Callable[[str], bytes | None]
    render: RenderFixture

    def shown(self, name: str) -> str:
        """A file of the folder (a relative path with forward slashes) as people name it."""
        return posixpath.normpath(posixpath.join(self.prefix, name))


def locate(written: str, beside: str, kind: str, context: ParseContext) -> str:
    """The real path of what `written` names, seen from the manifest `beside` (relative to the base).

    Raises InputRefused unless it is a `kind` (file or folder) inside what is allowed.
    """
    name = shown(written)
    path = _spelled(written, beside, context)
    place = context.place(path)
    if place.kind in ("missing", "unknown") and (twin := _twin(written, beside, kind, context)):
        message = f"expected a {kind}, but there is none whose name is spelt with the same characters as {name}"
        raise InputRefused("PathMissing", message, twin)
    if place.kind == "missing" or (place.kind == "unknown" and kind == "file"):
        message = f"expected a {kind}, but there is no {name}"
        raise InputRefused("PathMissing", message, _why_missing(written, kind))
    if not _allowed(place.path, written, context):  # guard: a link does not lead out
        raise InputRefused("PathOutside", f"expected a {kind} inside the repository, but {name} leads out of it", _HINT)
    if place.kind not in (kind, "unknown"):
        found = "something else" if place.kind == "other" else f"a {place.kind}"
        raise InputRefused("PathKind", f"expected a {kind}, but {name} is {found}")
    return place.path


def _twin(written: str, beside: str, kind: str, context: ParseContext) -> str:
    """A hint where there is a `kind` of a name that looks the same: macOS, for one, splits letters and accents."""
    forms: tuple[Literal["NFC", "NFD"], ...] = ("NFC", "NFD")
    for form in forms:
        other = unicodedata.normalize(form, written)
        if other != written and context.place(_spelled(other, beside, context)).kind == kind:
            accents = "with its letters" if form == "NFC" else "apart from their letters"
            return f"there is {readable(other)}, which has its accents {accents} (Unicode {form}): rename one of both"
    return ""


def _why_missing(written: str, kind: str) -> str:
    """What an author may have meant by a path that leads nowhere."""
    if written.startswith("~"):
        return "~ is not expanded; write the path relative to this file"
    if kind == "folder" and _HUB_ID.fullmatch(written):
        return "a model on the hub is `huggingface: {repo, revision}`; `path` is a folder, relative to this file"
    return ""


_HINT = "the operator of the machine can allow more folders (--source-root)"


def _spelled(written: str, beside: str, context: ParseContext) -> str:
    if "\\" in written or (_DRIVE.match(written) and not _is_absolute(written)):
        message = f"expected a path with forward slashes, got {shown(written)}"
        forward = written.replace("\\", "/")
        raise InputRefused("PathSpelling", message, f"write {shown(forward)}" if forward != written else "")
    if "://" in written:
        raise InputRefused("PathSpelling", f"expected a path, got the address {shown(written)}")
    path = os.path.normpath(os.path.join(context.base, os.path.dirname(beside), written))
    if not _allowed(path, written, context):  # guard: a path stays in the repository
        message = f"expected a path inside the repository, got {shown(written)}"
        hint = f"write it relative to this file; {_HINT}" if _is_absolute(written) else _HINT
        raise InputRefused("PathOutside", message, hint)
    return path


def _allowed(path: str, written: str, context: ParseContext) -> bool:
    """An absolute path means one machine, so only the operator of that machine can make it right."""
    # guard: an absolute path is for the operator
    roots = context.roots if _is_absolute(written) else (context.checkout, *context.roots)
    return any(inside(path, root) for root in roots)


def _is_absolute(written: str) -> bool:
    """On Windows also with the letter of a drive, as in D:/models."""
    return posixpath.isabs(written) or (sys.platform == "win32" and re.match("[A-Za-z]:/", written) is not None)


def inside(path: str, root: str) -> bool:
    """Both absolute and normalised."""
    path, root = os.path.normcase(path), os.path.normcase(root)
    return path == root or path.startswith(root.rstrip(os.sep) + os.sep)
