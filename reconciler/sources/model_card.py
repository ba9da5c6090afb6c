"""Reads the model card of a source: the YAML between the first two lines of `---` in its README.md. Foreign text: it is
read as strictly as a manifest, and what cannot be read so says nothing."""

import os

from reconciler.domain.sources.model_card import ModelCard
from reconciler.host.reading import read_whole
from reconciler.manifests import loader

README = "README.md"
LARGEST = 4 << 20  # bytes
LONGEST = 512  # characters of a value
MOST = 50  # values of a field
_FENCE = b"---"


def read_card(folder: str) -> ModelCard | None:
    """None where there is none, or it is not readable."""
    try:
        return card_of(read_whole(os.path.join(folder, README), LARGEST))
    except OSError:
        return None


def card_of(data: bytes) -> ModelCard | None:
    """From the bytes of a README.md."""
    front = _front_matter(data)
    loaded = loader.load(README, front) if front else None
    if loaded is None or loaded.problems or len(loaded.documents) != 1 or loaded.documents[0].problems:
        return None
    held = loaded.documents[0].data
    if not isinstance(held, dict):
        return None
    return ModelCard(
        licenses=_texts(held.get("license")),
        license_name=_text(held.get("license_name")),
        license_link=_text(held.get("license_link")),
        task=_text(held.get("pipeline_tag")),
        base_models=_texts(held.get("base_model")),
        datasets=_texts(held.get("datasets")),
    )


def _front_matter(data: bytes) -> bytes:
    first, *rest = data.removeprefix(b"\xef\xbb\xbf").splitlines()[:10_000] or [b""]
    if first.rstrip() != _FENCE:
        return b""
    ends = [number for number, line in enumerate(rest) if line.rstrip() == _FENCE]
    return b"\n".join(rest[: ends[0]]) if ends else b""


def _texts(value: object) -> tuple[str, ...]:
    """One text, or a list of them."""
    found = map(_text, value[:MOST] if isinstance(value, list) else [value])
    return tuple(dict.fromkeys(one for one in found if one))


def _text(value: object) -> str:
    return value.strip()[:LONGEST] if isinstance(value, str) and value.isprintable() else ""
