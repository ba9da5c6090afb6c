"""PruneConfirmation: what somebody meant when many models were taken out of git at once. Pure; part of manifests.parse.

It names the models, so it confirms no other prune than that; and it names none that is declared, so it does not lie in
wait for the day when that one is taken out by mistake.
"""

from typing import cast

from reconciler.manifests.declaration import Claim, Declaration, ProblemLog
from reconciler.manifests.schema import Manifest, PruneConfirmationManifest


def confirmed(declarations: list[Declaration[Manifest]], claims: list[Claim], findings: ProblemLog) -> tuple[str, ...]:
    """By name."""
    declared = {claim.name: claim.where for claim in claims if claim.kind == "Model"}
    found: set[str] = set()
    for declaration in declarations:
        if issubclass(declaration.kind, PruneConfirmationManifest):
            found |= _named(cast("Declaration[PruneConfirmationManifest]", declaration), declared, findings)
    return tuple(sorted(found))


def _named(
    declaration: Declaration[PruneConfirmationManifest], declared: dict[str, str], findings: ProblemLog
) -> set[str]:
    names = declaration.texts("spec", "models")
    for index, name in enumerate(names):
        if name in declared:  # guard: a confirmation names nothing that is declared
            message = f"expected a model that is not declared, got {name}, which is declared at {declared[name]}"
            hint = "take the name out: that confirmation is over"
            findings.add(declaration.problem(("spec", "models", index), "ConfirmedButDeclared", message, hint))
    return {name for name in names if name and name not in declared} if declaration.manifest else set()
