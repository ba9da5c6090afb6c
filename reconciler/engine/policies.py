"""Judges declared models by the policies of git and of this machine's configuration: gathers what they ask about
(cards, signatures, builds), and says which variants get no new release. All policies count: one in git takes nothing
back of what the machine's own refuse.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from reconciler.domain.desired import Desired
from reconciler.domain.errors import Problem
from reconciler.domain.manifest import Model
from reconciler.domain.observed import Observed
from reconciler.domain.plain_data import grouped
from reconciler.domain.policy.judge import BUILDS, FOLDER, JudgedModel, JudgedPart, build_result, judge_model
from reconciler.domain.policy.policy import ERROR, FAIL, PENDING, WARN, Policy, PolicyResult, denial_of, doubts_of
from reconciler.domain.recorded import Recorded
from reconciler.domain.sources.locked import GIT
from reconciler.domain.sources.model_card import ModelCard
from reconciler.domain.sources.source_model import SourceModel
from reconciler.engine.source_trust import SourceTrust
from reconciler.gates.judgement import gates_of
from reconciler.manifests.selector import mismatch
from reconciler.planner.conditions import POLICY_DENIED, POLICY_WARNED
from reconciler.sources.model_card import README
from reconciler.sources.protocol import described

Cards = Callable[[str], ModelCard | None]  # by folder
# By field of a manifest: what is wrong with its signature, None where signatures are not looked at; and a hint.
Doubts = Callable[[str], tuple[str | None, str]]
_NOT_ASKED = (
    "expected a signature that counts, but this machine asks for none",
    "add a rule with keys to `trust` in its configuration (docs/signed-sources.md)",
)


class PolicyJudge:
    """For one look at the manifests. `trust` is that of the machine, None where there is none."""

    def __init__(self, policies: Sequence[Policy], cards: Cards, trust: SourceTrust | None) -> None:
        self._policies = policies
        self._cards = cache(cards)  # many models of a fleet share a source
        self._trust = trust

    def of_model(self, model: Model, source: SourceModel) -> list[PolicyResult]:
        """`source` as far as it is known here."""
        selecting = [one for one in self._policies if not (one.selector and mismatch(one.selector, model.labels))]
        if not selecting:
            return []
        judged = self._judged(model, source)
        return [result for policy in selecting for result in judge_model(policy, judged)]

    def _judged(self, model: Model, source: SourceModel) -> JudgedModel:
        if not source.known and model.remote is not None:
            source = described(model.remote) or source
        doubts = self._doubts(model)
        parts = [self._base(model, source, doubts)]
        if model.adapter_path:
            parts.append(self._folder("spec.source.adapter", model.adapter_path, doubts, is_known=source.known))
        return JudgedModel(
            model=model,
            parts=tuple(parts),
            architecture=source.architecture,
            weight_bytes=source.weight_bytes,
            gates=frozenset(one.name for one in gates_of(model.gates) if not getattr(one, "skip", "")),
        )

    def _base(self, model: Model, source: SourceModel, doubts: Doubts) -> JudgedPart:
        remote = model.remote
        if remote is None:
            return self._folder("spec.source", model.source_path, doubts, is_known=source.known)
        card = (self._cards(source.path) if source.path else None) or remote.card
        field = remote.field
        doubt, hint = doubts(field)
        fetches = self._trust is None or self._trust.converts  # a machine that only pulls never sees the source
        comes = fetches and any(file.path == README for file in remote.files)
        name = FOLDER if remote.kind == GIT else f"{remote.kind}/{remote.repo}"
        return JudgedPart(field=field, name=name, card=card, comes=comes, doubt=doubt, hint=hint)

    def _folder(self, field: str, path: str, doubts: Doubts, *, is_known: bool) -> JudgedPart:
        """One that cannot be read from here, as outside of the repository for `diff`, comes later."""
        card, (doubt, hint) = self._cards(path), doubts(field)
        return JudgedPart(field=field, name=FOLDER, card=card, comes=not is_known, doubt=doubt, hint=hint)

    def _doubts(self, model: Model) -> Doubts:
        wanted = any(one.rules.signatures and one.rules.signatures.sources for one in self._policies)
        if self._trust is None or not wanted:
            return lambda field: (None, "")
        asked = self._trust.fields_asked(model)
        known = {field: (doubt.message, doubt.hint) for field, doubt in self._trust.of_model(model)}
        return lambda field: known.get(field, ("", "")) if field in asked else _NOT_ASKED


def denied(desired: Desired, results: Iterable[PolicyResult]) -> Desired:
    """With what the results say of each variant. Until builds are judged (with_builds) they deny nothing."""
    by_model = grouped((one for one in results if not _is_left(one)), lambda one: one.model)
    if not by_model:
        return desired
    wanted = tuple(
        replace(
            one,
            denial=denial_of(by_model.get(one.release.model, []), one.release.precision),
            doubted=doubts_of(by_model.get(one.release.model, []), one.release.precision),
        )
        for one in desired.wanted
    )
    return replace(desired, wanted=wanted)


def without_refused_choices(
    desired: Desired, results: Sequence[PolicyResult]
) -> tuple[Desired, tuple[PolicyResult, ...]]:
    """Of a model that says `precisions: auto` no machine takes a precision that a policy refuses or doubts, as long as
    another one is left: nothing is said of it then but that it is ruled out."""
    kept = tuple(results)
    for name in desired.choosing:
        precisions = {one.release.precision for one in desired.wanted if one.release.model == name}
        mine = [one for one in kept if one.model == name and one.precision in precisions]
        for wrong in ((FAIL, ERROR, WARN), (FAIL, ERROR)):
            refused = {one.precision: one.policy for one in mine if one.result in wrong}
            if refused and precisions - refused.keys():
                desired = _ruled_out(desired, name, refused)
                kept = tuple(one for one in kept if one.model != name or one.precision not in refused)
                break
    return desired, kept


def _ruled_out(desired: Desired, name: str, refused: Mapping[str, str]) -> Desired:
    choosing = desired.choosing[name]
    why = {precision: f"is not allowed by policy {policy}" for precision, policy in refused.items()}
    choosing = replace(choosing, ruled_out={**choosing.ruled_out, **why})
    wanted = tuple(one for one in desired.wanted if one.release.model != name or one.release.precision not in refused)
    return replace(desired, wanted=wanted, choosing={**desired.choosing, name: choosing})


@dataclass(frozen=True, kw_only=True)
class JudgedBuilds:
    """`results` are all, `decided` those of them that were left to the machine."""

    desired: Desired
    results: tuple[PolicyResult, ...]
    decided: tuple[PolicyResult, ...] = ()


def with_builds(
    desired: Desired, results: Sequence[PolicyResult], observed: Observed, recorded: Recorded
) -> JudgedBuilds:
    """Decides what was left to the machine: whose builds its variants are made from, or would be."""
    left = [one for one in results if _is_left(one)]
    if not left:
        return JudgedBuilds(desired=desired, results=tuple(results))
    by_model = grouped(desired.wanted, lambda wanted: wanted.release.model)
    decided = tuple(
        build_result(one, wanted.release.precision, _build_doubt(wanted.release.recipe.build_key, observed, recorded))
        for one in left
        for wanted in by_model.get(one.model, [])
    )
    found = (*(one for one in results if not _is_left(one)), *decided)
    return JudgedBuilds(desired=denied(desired, found), results=found, decided=decided)


def _is_left(one: PolicyResult) -> bool:
    return one.rule == BUILDS and one.result == PENDING


def _build_doubt(build_key: str, observed: Observed, recorded: Recorded) -> str:
    """Of what the store holds, else of what would be pulled; "" for what this machine converts itself."""
    artifact, offer = observed.artifacts.get(build_key), observed.answers.offers.get(build_key)
    build = recorded.origins.get(artifact.digest) if artifact is not None else offer
    if build is None or build.signed_by:
        return ""
    return f"expected a signed build, got one without a signature that counts, from {build.registry}"


def without_retired(desired: Desired) -> Desired:
    """Without the variants that a policy retires: they are pruned as if no manifest declared them."""
    retired = {one.variant: one.denial.message for one in desired.wanted if one.denial and one.denial.retires}
    if not retired:
        return desired
    return replace(
        desired,
        wanted=tuple(one for one in desired.wanted if one.variant not in retired),
        declared=desired.declared - retired.keys(),
        retired=retired,
    )


def said(results: Iterable[PolicyResult]) -> Iterator[tuple[bool, Problem]]:
    """What breaks a rule, at the line of the model: whether it is refused for it, and the problem."""
    for one in results:
        if one.result in (FAIL, WARN):
            refused = one.result == FAIL
            yield (
                refused,
                Problem(
                    code=POLICY_DENIED if refused else POLICY_WARNED,
                    file=one.file,
                    line=one.line,
                    field=one.field,
                    message=f"{one.subject} {'breaks' if refused else 'does not meet'} {one.text}",
                    hint=one.hint,
                ),
            )
