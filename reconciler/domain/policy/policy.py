"""What a Policy asks of models: its rules, the models that it is about, and what becomes of one that breaks a rule.

A rule is a field of PolicyRules, described here and nowhere else; `domain.policy.judge` judges by it.
"""

from dataclasses import dataclass, field
from typing import Annotated, Final, Literal

from reconciler.domain.accepts import FLAG, About, Accepts
from reconciler.domain.manifest import LabelSelector, variant_name
from reconciler.domain.targets.precisions import PRECISIONS
from reconciler.domain.text.quoting import in_short

ENFORCED: Final = "enforce"
RETIRE: Final = "retire"

LicenseName = Annotated[str, Accepts(expected="the id of a licence, such as Apache-2.0", least=1, most=128)]
SourceName = Annotated[
    str, Accepts(expected="a pattern such as huggingface/acme/*, or path", pattern=r"^[A-Za-z0-9._/*-]{1,256}$")
]
ArchitectureName = Annotated[
    str, Accepts(expected="an architecture such as Qwen2ForCausalLM", pattern=r"^[A-Za-z0-9_]{1,128}$")
]
GateName = Annotated[str, Accepts(expected="the name of a gate", least=1, most=64)]
_SOME = Accepts(least=1, most=200)
_SIZE = Accepts(
    expected="a size such as 512MiB or 20GiB",
    pattern=r"^[1-9][0-9]{0,8}(\.[0-9]{1,3})?(MB|GB|TB|MiB|GiB|TiB)$",
    unit="size",
)


@dataclass(frozen=True, kw_only=True)
class LicenseRule:
    """Which licences a model may have, by the model card of its source; exactly one of `allow` and `deny`."""

    allow: Annotated[
        tuple[LicenseName, ...] | None,
        About("Ids of SPDX's list, and LicenseRef-NAME for others: one side of each OR is allowed, both of each AND."),
        _SOME,
    ] = None
    deny: Annotated[tuple[LicenseName, ...] | None, About("Licences that are not allowed; all others are."), _SOME] = (
        None
    )
    unknown: Annotated[
        Literal["deny", "warn"], About("What becomes of a model whose card names no licence, or that has no card.")
    ] = "deny"

    def takes(self, license_id: str) -> bool:
        return license_id in self.allow if self.allow is not None else license_id not in (self.deny or ())


@dataclass(frozen=True, kw_only=True)
class SignatureRule:
    """Which signatures are wanted. Whose keys count stands in `trust` of a machine's configuration, never in git."""

    sources: Annotated[bool, About("Sources and adapters are signed by a key that the machine trusts."), FLAG] = False
    builds: Annotated[bool, About("A build that others made is signed by a key that the machine trusts."), FLAG] = False


@dataclass(frozen=True, kw_only=True)
class PolicyRules:
    """Each rule says what is allowed, and one that is left out asks for nothing."""

    mode: Annotated[
        Literal["enforce", "warn"],
        About("enforce: a model that breaks a rule gets no new release. warn: it is only said."),
    ] = "enforce"
    served: Annotated[
        Literal["keep", "retire"],
        About("What becomes of releases that serve already, of a model that breaks an enforced rule."),
    ] = "keep"
    licenses: Annotated[LicenseRule | None, About("Which licences a model may have.")] = None
    sources: Annotated[
        tuple[SourceName, ...] | None,
        About("Hubs and publishers: huggingface/ORG/NAME with stars, and `path` for every folder."),
        _SOME,
    ] = None
    max_source_size: Annotated[float | None, About("Most bytes of a source's weights."), _SIZE] = None
    precisions: Annotated[
        tuple[Literal[PRECISIONS], ...] | None, About("Precisions that may be served."), _SOME  # type: ignore[valid-type]
    ] = None
    architectures: Annotated[
        tuple[ArchitectureName, ...] | None, About("Architectures of config.json that may be served."), _SOME
    ] = None
    signatures: Annotated[SignatureRule | None, About("Which signatures are wanted.")] = None
    gates: Annotated[
        tuple[GateName, ...] | None, About("Gates that a model has to have; one with `skip` does not count."), _SOME
    ] = None


@dataclass(frozen=True, kw_only=True)
class Policy:
    """`selector` is None for every model. `lines` are those of its rules, by field (`licenses`, `signatures.builds`).

    `broken`: it cannot be read. Then `rules` are those that say how it is to be taken: as strictly as is known."""

    name: str
    file: str
    line: int
    rules: PolicyRules
    selector: LabelSelector | None = None
    lines: dict[str, int] = field(default_factory=dict)
    broken: bool = False

    def line_of(self, rule: str) -> int:
        return self.lines.get(rule, self.line)

    @property
    def enforced(self) -> bool:
        return self.rules.mode == ENFORCED


PASS: Final = "pass"
FAIL: Final = "fail"
WARN: Final = "warn"
ERROR: Final = "error"  # the policy itself is broken
PENDING: Final = "pending"  # not to be decided here and now

# What a policy report of Kubernetes knows, and `pending`.
Result = Literal["pass", "fail", "warn", "error", "pending"]


@dataclass(frozen=True, kw_only=True)
class PolicyResult:
    """What one rule says of one model, or of its variant at `precision`. `file`, `line` and `field` are those of the
    model, `policy_file` and `policy_line` those of the rule ("" as `rule`: the whole policy). `fetches`: it is decided
    once the source is here."""

    policy: str = ""
    rule: str
    result: Result
    model: str = ""
    precision: str = ""
    message: str = ""
    hint: str = ""
    file: str = ""
    line: int = 0
    field: str = ""
    policy_file: str = ""
    policy_line: int = 0
    enforced: bool = True
    fetches: bool = False
    retires: bool = False

    @property
    def holds(self) -> bool:
        """Whether no new release may be made of the model, now."""
        return self.result in (FAIL, ERROR, PENDING) and self.enforced

    @property
    def subject(self) -> str:
        return variant_name(self.model, self.precision) if self.precision else self.model

    @property
    def text(self) -> str:
        rule = f", rule {self.rule}" if self.rule else ""
        return f"policy {self.policy}{rule} ({self.policy_file}:{self.policy_line}): {self.message}"


def doubts_of(results: "tuple[PolicyResult, ...] | list[PolicyResult]", precision: str) -> tuple[str, ...]:
    """What only warns, of the model and of its variant at this precision."""
    return tuple(one.text for one in results if one.result == WARN and one.precision in ("", precision))


@dataclass(frozen=True, kw_only=True)
class PolicyDenial:
    """Why a variant gets no new release. `fetches`: its source may come all the same, because it decides. `retires`:
    what serves of it goes too."""

    message: str
    fetches: bool = False
    retires: bool = False


def denial_of(results: "tuple[PolicyResult, ...] | list[PolicyResult]", precision: str) -> PolicyDenial | None:
    """By what is said of the model, and of its variant at this precision."""
    held = [one for one in results if one.holds and one.precision in ("", precision)]
    if not held:
        return None
    # What is decided already comes before what is not.
    held.sort(key=lambda one: one.result == PENDING)
    return PolicyDenial(
        message=in_short([one.text for one in held], 1),
        fetches=all(one.fetches for one in held),
        retires=any(one.retires and one.result == FAIL for one in held),
    )
