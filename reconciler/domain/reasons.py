"""Reason: why something is changed or held back. A closed set; docs/reference.md is generated from it."""

from enum import StrEnum
from typing import Self


class Reason(StrEnum):
    """Its value is what JSON and records hold, `text` says in words what it means."""

    text: str

    def __new__(cls, value: str, text: str) -> Self:
        reason = str.__new__(cls, value)
        reason._value_ = value
        reason.text = text
        return reason

    ARTIFACT_MISSING = ("ArtifactMissing", "the recipe has not been built on this machine yet")
    SOURCE_MISSING = ("SourceMissing", "the weights are not on this machine yet, or only a part of them")
    AWAITING_BUILD = (
        "AwaitingBuild",
        "convert: registry-only, and no registry has the artifact of this build key, or none answers",
    )
    UNTRUSTED = ("Untrusted", "no key that this machine trusts has signed the build: see `trust` of its configuration")
    REVOKED = ("Revoked", "the artifact or its build key is in `revoked` of this machine's configuration")
    POLICY_DENIED = (
        "PolicyDenied",
        "the model breaks an enforced policy: no new release; what serves goes on, unless the policy retires it",
    )
    RELEASE_MISSING = ("ReleaseMissing", "the variant is declared and not served yet")
    RECIPE_CHANGED = (
        "RecipeChanged",
        "the source, precision, quantization, target or tool versions changed: new weights",
    )
    TEMPLATE_CHANGED = ("TemplateChanged", "the prompt template changed: a new registration of the same weights")
    GENERATION_CHANGED = (
        "GenerationChanged",
        "the generation defaults changed: a new registration of the same weights",
    )
    FORMAT_CHANGED = ("FormatChanged", "this version of reconciler writes served folders differently")
    DRIFT_DETECTED = ("DriftDetected", "the machine changed without a commit: a file, a folder or a registration")
    SUPERSEDED = ("Superseded", "a newer release of the same variant is served")
    RETAINED = ("Retained", "a newer release is served; the manifest says retainFor, and that time is not over")
    IN_USE = ("InUse", "it is to go, but another process still has its files in its memory: it goes when that ends")
    DISK_SHORT = ("DiskShort", "kept only to be served again; a download or a conversion needs its room")
    MAKES_WAY = (
        "MakesWay",
        "delete-then-build: it goes before its successor is built, because both do not fit on the disk",
    )
    ROLLED_BACK = (
        "RolledBack",
        "an earlier release is served instead: by `reconciler rollback`, or the gates reject the later one",
    )
    RUNTIME_CHANGED = (
        "RuntimeChanged",
        "Foundry Local or its libraries are others than those it was verified with: measured again",
    )
    ORPHANED = ("Orphaned", "no manifest declares the variant any more")
    NOT_SELECTED = ("NotSelected", "the model is declared for other machines: its nodeSelector does not match this one")
    UNREFERENCED = ("Unreferenced", "no release uses the artifact, or no manifest the source from the hub, any more")
    SUSPENDED = ("Suspended", "the manifest says suspend: true, or `reconciler suspend` was run")
    PROTECTED = ("Protected", "the manifest had prune: disabled when it was last seen")
    NAME_TAKEN = ("NameTaken", "a registration that is not ours already has this name")
    MANIFESTS_UNREADABLE = ("ManifestsUnreadable", "a manifest is invalid, so what is no longer declared is unknown")
    NOTHING_DECLARED = (
        "NothingDeclared",
        "no model is declared for this machine: a wrong folder, branch or label is likelier than the intention",
    )
    CONFIRMATION_NEEDED = (
        "ConfirmationNeeded",
        "more than half of the models, or more than five, would go: --confirm, or PruneConfirmation",
    )
    GATE_UNMEASURED = (
        "GateUnmeasured",
        "it is served, and a gate was declared since for which it has not been measured",
    )
    GATE_FAILED = (
        "GateFailed",
        "what was measured of the release misses a bar of its gates: the number stands beside the bar",
    )
    UNRECORDED = (
        "Unrecorded",
        "only the mark in its folder says that it is ours, no record and no registration: `--confirm`",
    )
    UNREADABLE = ("Unreadable", "its served folders cannot be listed: what is there is left alone until they can")
    DISK_INSUFFICIENT = (
        "DiskInsufficient",
        (
            "the download or the conversion would need more disk than is free or than limits allow: "
            "`reconciler gc`, a larger limit, or `disk: {strategy: delete-then-build}`"
        ),
    )
    MEMORY_INSUFFICIENT = (
        "MemoryInsufficient",
        "the conversion would need more memory than this machine has for it: another precision, or another machine",
    )
    DEPENDENCY_NOT_READY = (
        "DependencyNotReady",
        "a model that it depends on (dependsOn) does not serve yet what git declares of it",
    )
    HAS_DEPENDENTS = (
        "HasDependents",
        "it is to go, and a model that depends on it is still served: that one goes first",
    )
    PRECISION_CHANGED = ("PrecisionChanged", "precisions: auto chose another one for this machine, and that one serves")
    AWAITING_PRECISION = (
        "AwaitingPrecision",
        "its model is to be served at another precision, which is not served yet: this one serves until then",
    )
    RETRIES_EXCEEDED = (
        "RetriesExceeded",
        "it failed once more than the manifest's retry.limit: tried when its input changes, or with `reconciler retry`",
    )
    FAILED_BEFORE = (
        "FailedBefore",
        "it failed here and will fail again: tried when its input changes, or with `reconciler retry`",
    )
    AWAITING_WINDOW = (
        "AwaitingWindow",
        "`windows` of the machine's configuration: it begins at the time that is named; what serves goes on serving",
    )
    BUDGET_SPENT = ("BudgetSpent", "today's `bandwidth.daily` has come: the download goes on when the next day begins")
    METERED_CONNECTION = (
        "MeteredConnection",
        "`bandwidth.metered`: nothing is downloaded, or only what nothing else serves for and repairs",
    )
    AWAITING_TURN = (
        "AwaitingTurn",
        "the machines of a fleet ask and download one after the other: it begins at the time that is named",
    )
    AWAITING_RING = (
        "AwaitingRing",
        "a Rollout: the ring before this machine's has not shown yet what it must; the message says what is lacking",
    )
    ROLLOUT_PAUSED = ("RolloutPaused", "the Rollout says paused: true; what serves goes on serving")
    ROLLOUT_FAILED = (
        "RolloutFailed",
        "the release stopped in an earlier ring, or git aborts it: another release, or `reconciler rollout promote`",
    )
    BACKOFF_ACTIVE = (
        "BackoffActive",
        "it failed here and may pass by itself: tried again at the time that is named; `apply` tries now",
    )


# Held back because a user asked for it: a machine that holds only these has converged.
USER_HOLDS = frozenset({Reason.SUSPENDED, Reason.PROTECTED, Reason.ROLLED_BACK, Reason.ROLLOUT_PAUSED})

# Held back because it failed here before (domain.failures).
BY_FAILURE = frozenset({Reason.FAILED_BEFORE, Reason.BACKOFF_ACTIVE, Reason.RETRIES_EXCEEDED})

# Held back until another change of the same plan is carried out: the next pass may find it ready.
BY_ORDER = frozenset({Reason.DEPENDENCY_NOT_READY, Reason.HAS_DEPENDENTS, Reason.AWAITING_PRECISION})

# Held back until time, or another connection, lets it go on: no person is needed.
WAITING = frozenset(
    {
        Reason.BACKOFF_ACTIVE,
        Reason.AWAITING_WINDOW,
        Reason.BUDGET_SPENT,
        Reason.METERED_CONNECTION,
        Reason.AWAITING_TURN,
        Reason.AWAITING_RING,
    }
)

# Prune guards that wait for a person: until then nothing else that seems unused is freed either.
PRUNE_GUARDS = frozenset({Reason.NOTHING_DECLARED, Reason.CONFIRMATION_NEEDED})

# All that the condition of a variant may name as what holds it back: counted by daemon.metrics. The others are about
# changes, or about what is no longer declared, which has no such condition.
HOLDS = (
    USER_HOLDS
    | BY_FAILURE
    | BY_ORDER
    | WAITING
    | PRUNE_GUARDS
    | {
        Reason.AWAITING_BUILD,
        Reason.DISK_INSUFFICIENT,
        Reason.GATE_FAILED,
        Reason.MEMORY_INSUFFICIENT,
        Reason.NAME_TAKEN,
        Reason.POLICY_DENIED,
        Reason.REVOKED,
        Reason.ROLLOUT_FAILED,
        Reason.UNREADABLE,
        Reason.UNTRUSTED,
    }
)
