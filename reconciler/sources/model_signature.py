"""What an OpenSSF model signature (`model.sig`, as model-signing 1.x makes them) says of a model folder: the in-toto
statement in it, with the digest of every file that was signed.

Pure. `read` takes a statement whose signature was verified; `differences` compares it with the files that are there.
Only whole files by sha256 can be compared, which is what model-signing signs by default.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from reconciler.domain.machine.trust import STATEMENT
from reconciler.domain.sources.source_model import ADAPTER_CONFIG, ADAPTER_WEIGHTS, INDEX, SMALL_FILES
from reconciler.domain.text.quoting import shown
from reconciler.host.codec import Misformed, as_mapping, parse_json

NAME = "model.sig"
PREDICATE = "https://model_signing/signature/v1.0"
LARGEST = 1 << 20  # bytes

# Whatever a signer leaves out, its own tool leaves these out too: the signature itself, and what belongs to git.
ALWAYS_IGNORED = (NAME, ".git", ".gitattributes", ".github", ".gitignore")
_DECIDING = frozenset({*SMALL_FILES, INDEX, ADAPTER_CONFIG, ADAPTER_WEIGHTS})
_SHA256 = re.compile("[0-9a-f]{64}")


class NotAModelSignature(ValueError):
    """In words that say what is wrong."""


@dataclass(frozen=True, kw_only=True)
class SignedFiles:
    """Digests by path, with forward slashes. `ignored` are paths that were left out, with all that is below them."""

    files: Mapping[str, str]
    ignored: tuple[str, ...] = ()

    def ignores(self, path: str) -> bool:
        """Never what decides a conversion, whatever the signer left out."""
        # guard: what decides a conversion is signed
        if decides(path):
            return False
        return any(PurePosixPath(path).is_relative_to(one) for one in (*ALWAYS_IGNORED, *self.ignored))


def decides(path: str) -> bool:
    """Whether a file of this name is read by a conversion."""
    return path in _DECIDING or (path.endswith(".safetensors") and "/" not in path)


def read(payload: bytes) -> SignedFiles:
    """Raises NotAModelSignature."""
    try:
        statement = as_mapping(parse_json(payload, LARGEST))
        _require(statement["_type"] == STATEMENT, "it is no in-toto statement (v1)")
        kind = statement["predicateType"]
        # guard: only a model signature counts for a model
        _require(kind == PREDICATE, f"its predicate is of type {shown(str(kind))}, expected {PREDICATE}")
        predicate = statement["predicate"]
        form = predicate["serialization"]
        how = f"{form['method']} by {form['hash_type']}"
        _require(how == "files by sha256", f"it signs {shown(how)}, expected files by sha256")
        files = _files(predicate["resources"])
        (subject,) = statement["subject"]
        whole = hashlib.sha256(b"".join(map(bytes.fromhex, files.values()))).hexdigest()
        # guard: the list of files is the one that its subject names
        _require(subject["digest"]["sha256"] == whole, "its list of files is not the one that its subject names")
        ignored = tuple(str(PurePosixPath(one)) for one in form.get("ignore_paths", ()))
    except NotAModelSignature:
        raise
    except (Misformed, LookupError, ValueError, TypeError, AttributeError, RecursionError):
        raise NotAModelSignature("it has not the form of a model signature (1.0)") from None
    return SignedFiles(files={path: f"sha256:{digest}" for path, digest in files.items()}, ignored=ignored)


def _files(resources: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Hex digests by path, in their order, which the digest of the subject depends on."""
    found: dict[str, str] = {}
    for one in resources:
        name, digest = one["name"], one["digest"]
        _require(one["algorithm"] == "sha256" and bool(_SHA256.fullmatch(digest)), f"{shown(name)} has no sha256")
        _require(name not in found, f"{shown(name)} is in it twice")
        found[name] = digest
    return found


def differences(
    signed: SignedFiles, present: Iterable[str], digest_of: Callable[[str], str], is_expected: Callable[[str], bool]
) -> Iterator[str]:
    """What is wrong, a few words each. `present` are the files that are there; `is_expected` says of a file that was
    signed whether it has to be there."""
    names = set(present)
    for path in sorted(names):
        if path not in signed.files:
            # guard: a file that was not signed is refused
            if not signed.ignores(path):
                yield f"{shown(path)} was not signed"
        # guard: a file has the digest that was signed
        elif digest_of(path) != signed.files[path]:
            yield f"{shown(path)} is not the file that was signed"
    # guard: a signed file is not taken away
    yield from (f"{shown(path)} is missing" for path in signed.files if path not in names and is_expected(path))


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise NotAModelSignature(otherwise)
