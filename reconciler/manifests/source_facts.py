"""`reconciler.facts.json` and `reconciler.cards.json`: what `reconciler lock` found in the small files of each locked
source, so that a machine knows its build keys from git alone, and what its model card says, so that its licence is
known in a pull request. They lie beside the lock file, which stays as earlier versions read it; without them a source
is fetched before these are known.

Read as foreign text. A source is known there by the digest of its locked files, so facts never outlive them.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from reconciler.domain.errors import InputRefused
from reconciler.domain.plain_data import as_dict
from reconciler.domain.sources.locked import LOCK_BYTES, LockedSource, SourceFacts
from reconciler.domain.sources.model_card import ModelCard
from reconciler.domain.sources.model_config import complaints
from reconciler.domain.text.names import camel
from reconciler.domain.text.quoting import shown
from reconciler.host.codec import Codec, Misformed, parse_json

LARGEST = 128 << 10  # bytes of one source; of more, nothing is known before it is fetched
LONGEST_MESSAGE = 180  # characters
T = TypeVar("T")
HINT = "`reconciler lock` writes it anew"


class LockInvalid(InputRefused):
    """One line; `line` is 0 when the whole file is meant."""

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__("LockInvalid", message, HINT, line)


@dataclass(frozen=True, kw_only=True)
class SourcesFile(Generic[T]):
    """What the lock file, and each file beside it, holds: an entry for each source."""

    format_version: Literal[1]
    sources: tuple[T, ...]


def sources_in(codec: Codec[SourcesFile[T]], data: bytes) -> tuple[T, ...]:
    """Raises LockInvalid."""
    try:
        parse_json(data, LOCK_BYTES)  # refuses what a second reader could understand differently
        return codec.read_json(data).sources
    except Misformed as error:
        raise LockInvalid(shown(str(error), LONGEST_MESSAGE), error.line) from None


@dataclass(frozen=True, kw_only=True)
class _Entry(SourceFacts):
    """`digest`: of the locked files."""

    digest: str


_CODEC = Codec(SourcesFile[_Entry], camel)


def render(found: Mapping[str, SourceFacts]) -> bytes:
    """By digest."""
    entries = [_Entry(digest=digest, **as_dict(found[digest])) for digest in sorted(found)]
    fitting = [one for one in entries if len(json.dumps(as_dict(one))) <= LARGEST]
    plain: dict[str, Any] = _CODEC.write(SourcesFile(format_version=1, sources=tuple(fitting)))
    plain["sources"] = [{"digest": one["digest"], **one} for one in plain["sources"]]
    return json.dumps(plain, indent=1).encode() + b"\n"


def read(data: bytes) -> dict[str, SourceFacts]:
    """By digest. Raises LockInvalid."""
    entries = sources_in(_CODEC, data)
    for index, one in enumerate(entries):
        # guard: the facts of a source are those of a model
        if wrong := complaints(one.config):
            raise LockInvalid(f"sources[{index}].config: {shown(wrong[0], LONGEST_MESSAGE)}")
    return {
        one.digest: SourceFacts(weights=one.weights, config=one.config, chat_template=one.chat_template)
        for one in entries
    }


@dataclass(frozen=True, kw_only=True)
class _CardEntry(ModelCard):
    """`source`: huggingface/ORG/NAME@REVISION."""

    source: str


_CARDS = Codec(SourcesFile[_CardEntry], camel)


def render_cards(found: Mapping[str, ModelCard]) -> bytes:
    """By source; what a card does not say is left out."""
    entries = tuple(_CardEntry(source=source, **as_dict(found[source])) for source in sorted(found))
    plain: dict[str, Any] = _CARDS.write(SourcesFile(format_version=1, sources=entries))
    plain["sources"] = [
        {"source": one["source"], **{name: held for name, held in one.items() if held}} for one in plain["sources"]
    ]
    return json.dumps(plain, indent=1).encode() + b"\n"


def read_cards(data: bytes) -> dict[str, ModelCard]:
    """What the model card of each locked source said when `reconciler lock` asked, so that a licence is known in a pull
    request and where a source is never fetched. Raises LockInvalid."""
    return {
        one.source: ModelCard(**{name: held for name, held in as_dict(one).items() if name != "source"})
        for one in sources_in(_CARDS, data)
    }


def fit(facts: SourceFacts, source: LockedSource) -> bool:
    """Whether they can be those of these files."""
    return len(facts.weights) > 0 and set(facts.weights) <= {file.path for file in source.files}
