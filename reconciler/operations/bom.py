"""Gathers what is known of declared variants for their bill of materials: files and digests of the source and of the
stored artifact, the source's licence from its model card, the tools, the measured fidelity. Offline; reads only.
"""

import os
import re
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace

from reconciler import __version__
from reconciler.domain import digest as digests
from reconciler.domain.desired import DesiredRelease
from reconciler.domain.digest import StoredFile
from reconciler.domain.manifest import Model
from reconciler.domain.observed import Observed
from reconciler.domain.policy.licenses import normalised
from reconciler.domain.recorded import Recorded
from reconciler.domain.release import Artifact
from reconciler.domain.sources.locked import GIT, HUGGINGFACE
from reconciler.domain.sources.model_card import ModelCard
from reconciler.domain.sources.source_model import SourceAdapter, SourceModel
from reconciler.engine.machine import Machine, observe, recall
from reconciler.gates.judgement import known_numbers
from reconciler.host.clock import text_of
from reconciler.manifests.parsed import Parsed
from reconciler.reports.bom import Json, SourceParts, VariantParts, bom_view
from reconciler.sources.cache import OnDisk
from reconciler.sources.model_card import README, read_card
from reconciler.sources.protocol import described, unseen

NO_CARD = f"its licence: no {README} with a model card is here"
_LINK = re.compile(r"https://[\w./~%?=&#:@+-]{1,500}", re.ASCII)
NO_CARD_OF_HUB = f"{NO_CARD} (`reconciler lock` writes down what it says)"


def make_bom(
    machine: Machine, parsed: Parsed, name: str, wanted: Sequence[DesiredRelease], *, dated: bool
) -> tuple[Json, tuple[str, ...]]:
    """Of these variants, and what is missing in it, a line each. Equal for equal inputs on any machine, but for the
    time: when the newest artifact came into the store."""
    observed = observe(machine)
    gatherer = PartsGatherer(machine, parsed, observed, recall(machine, observed))
    variants = [gatherer.variant(one) for one in wanted]
    when = gatherer.built_at(variants) if dated else ""
    serial = uuid.uuid5(uuid.NAMESPACE_URL, digests.of_value(bom_view(name, variants, __version__)))
    return bom_view(name, variants, __version__, when, serial.urn), tuple(_notes(variants))


def _notes(variants: Sequence[VariantParts]) -> Iterator[str]:
    found = {part.name: part.missing for one in variants for part in one.made_of}
    for name, missing in ({one.wanted.variant: one.missing for one in variants} | found).items():
        yield from (f"{name}: missing: {one}" for one in missing)


class PartsGatherer:
    """Of declared variants, what they are made of."""

    def __init__(self, machine: Machine, parsed: Parsed, observed: Observed, recorded: Recorded) -> None:
        self._machine, self._observed, self._recorded = machine, observed, recorded
        self._models = {one.name: one for one in parsed.models}
        self._folders = OnDisk(machine.stamps, machine.sources)

    def variant(self, wanted: DesiredRelease) -> VariantParts:
        model, known = self._models[wanted.release.model], wanted.recipe_is_known
        artifact = self._observed.artifacts.get(wanted.release.recipe.build_key) if known else None
        fidelity = known_numbers(wanted, self._recorded)[0] if known else None
        if fidelity is not None and fidelity.unmeasured:
            fidelity = None
        missing = []
        if not known:
            missing.append("its recipe and tools: its source is not here yet")
        if artifact is None:
            missing.append("its files: it is not built here")
        if fidelity is None:
            missing.append("its fidelity: it is not measured here")
        return VariantParts(
            wanted=wanted,
            source=self._source(model),
            adapter=self._adapter(model, wanted.release.recipe.adapter),
            artifact=artifact,
            origin=self._recorded.origins.get(artifact.digest) if artifact else None,
            fidelity=fidelity,
            missing=tuple(missing),
        )

    def built_at(self, variants: Sequence[VariantParts]) -> str:
        """ "" where nothing is built."""
        built = [one.artifact for one in variants if one.artifact is not None]
        return text_of(max(map(self._came, built))) if built else ""

    def _came(self, artifact: Artifact) -> float:
        return os.path.getmtime(self._machine.store.blob(artifact.digest))

    def _source(self, model: Model) -> SourceParts:
        if model.remote is None:
            looked = self._folders.source(model.source_path, ready=model.ready)
            return _parts(looked, _base_name(model.source_path), looked.files, NO_CARD)
        source = model.remote
        looked = self._folders.locked(source).model or described(source) or unseen(source)
        files = tuple(StoredFile(path=one.path, size=one.size, digest=f"sha256:{one.sha256}") for one in source.files)
        if source.kind == GIT:
            return _parts(looked, _base_name(source.name), files, NO_CARD, known=source.card)
        of_hub = {"repository": source.repo, "revision": source.revision} if source.kind == HUGGINGFACE else {}
        return _parts(looked, source.repo, files, NO_CARD_OF_HUB, known=source.card, **of_hub)

    def _adapter(self, model: Model, merged: str | None) -> SourceParts | None:
        """`merged`: the digest of what is merged and served of it."""
        if model.adapter_path is None:
            return None
        looked = self._folders.adapter(model.adapter_path)
        if merged not in (None, looked.digest):  # its own tokenizer is served too
            looked = replace(looked, digest=str(merged), files=(*looked.files, *looked.tokenizer))
        return _parts(looked, _base_name(model.adapter_path), looked.files, NO_CARD)


def _parts(
    looked: SourceModel | SourceAdapter,
    name: str,
    files: tuple[StoredFile, ...],
    otherwise: str,
    *,
    known: ModelCard | None = None,
    repository: str = "",
    revision: str = "",
) -> SourceParts:
    """`known` is what the lock has of the model card, for one that is not here."""
    card = (read_card(looked.path) if looked.path else None) or known
    licenses = tuple(_licenses(card)) if card is not None else ()
    architecture, context = (
        ("", 0) if isinstance(looked, SourceAdapter) else (looked.architecture, looked.context_length)
    )
    return SourceParts(
        name=name,
        digest=looked.digest,
        files=files,
        repository=repository,
        revision=revision,
        architecture=architecture,
        family=str(looked.config.get("model_type", "")),
        context_length=context,
        card=card or ModelCard(),
        licenses=licenses,
        missing=() if licenses else (otherwise if card is None else f"its licence: its {README} names none",),
    )


def _licenses(card: ModelCard) -> Iterator[Json]:
    """CycloneDX's choice: one SPDX expression, or names."""
    expression = normalised(" AND ".join(f"({one})" if " " in one else one for one in card.licenses))
    if expression:
        yield {"expression": expression, "acknowledgement": "declared"}
        return
    link = {"url": card.license_link} if _LINK.fullmatch(card.license_link) else {}
    for one in card.licenses:
        name = card.license_name if one == "other" and card.license_name else one
        yield {"license": {"name": name, "acknowledgement": "declared", **link}}


def _base_name(path: str) -> str:
    return os.path.basename(path.rstrip(os.sep))
