"""What git declares, as plain values: a Model with every reference resolved and every default filled in.

A field's type, limits and meaning stand here, in its annotation (`About` and `Accepts` of domain.accepts), and nowhere
else; manifests.described makes the schema and the pages from them.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Literal

from reconciler.domain import digest
from reconciler.domain.accepts import DURATION, FLAG, LABEL, About, Accepts, number, whole
from reconciler.domain.gate_spec import GateSpec
from reconciler.domain.sources.locked import LockedSource
from reconciler.domain.targets.execution_providers import (
    CONVERTED,
    CONVERTED_DEVICES,
    DEFAULT_PROVIDER,
    PROVIDER_NICKNAMES,
    PROVIDERS,
)
from reconciler.domain.targets.tasks import CHAT, OTHER_TASKS, TASK_NICKNAMES, TASKS

API_VERSION = "reconciler.foundry/v1alpha1"

PRUNE_ANNOTATION = "reconciler.foundry/prune"

MAX_SEED = 2**31 - 1
_NOT_CONVERTED = "models are not converted for others"
_NO_PROVIDERS = tuple((nickname, f"did you mean {name}?") for nickname, name in PROVIDER_NICKNAMES.items()) + tuple(
    (one.name, _NOT_CONVERTED) for one in PROVIDERS if not one.converted
)
_NO_DEVICES = tuple(
    (word, f"write executionProvider: {name}")
    for word, name in (*((name, name) for name in CONVERTED), *PROVIDER_NICKNAMES.items())
    if word not in CONVERTED_DEVICES
)
_NO_TASKS = tuple((nickname, f"did you mean {name}?") for nickname, name in TASK_NICKNAMES.items())
_AT_LEAST_ONE = "a whole number of at least 1"
_NULLABLE = Accepts(nullable=True)
_PENALTY = Accepts(expected="a number above 0, at most 10", above=0, most=10)

Label = Annotated[str, LABEL]
ModelName = Annotated[
    str, Accepts(expected="the name of a Model", pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$", least=1, most=40)
]


@dataclass(frozen=True, kw_only=True)
class Fixture:
    """`tokens` are the special tokens that the template asks for by name; `asked` is whether an answer is to begin."""

    messages: tuple[tuple[str, str], ...]
    rendered: str
    asked: bool = True
    tokens: dict[str, str] = field(default_factory=dict, hash=False)

    @cached_property
    def key(self) -> str:
        return digest.of_value({"messages": self.messages, "rendered": self.rendered})


@dataclass(frozen=True, kw_only=True)
class Quantization:
    """How weights are rounded. A field that a precision does not use is left out of its recipe."""

    block_size: Annotated[
        Literal[16, 32, 64, 128, 256],
        About("How many weights share one scale. Default 32."),
        Accepts(expected="a power of two from 16 to 256", nullable=True),
    ] = 32
    symmetric: Annotated[bool, About("Round around zero, without a zero point. Default true."), _NULLABLE] = True
    accuracy_level: Annotated[
        Literal[1, 2, 3, 4] | None,
        About("Least precision of the sums: 1 fp32, 2 fp16, 3 bf16, 4 int8. Default: the tool's (4)."),
        Accepts(expected="1 (fp32), 2 (fp16), 3 (bf16) or 4 (int8)"),
    ] = None
    algorithm: Annotated[
        Literal["default", "rtn", "k_quant", "k_quant_mixed", "k_quant_last"],
        About("How int4 weights are chosen; k_quant_mixed keeps sensitive layers at 8 bits."),
        _NULLABLE,
    ] = "default"


@dataclass(frozen=True, kw_only=True)
class Target:
    """The hardware that a model is converted for."""

    device: Annotated[
        str,
        About("Where the model runs. Left out, it is that of the provider; gpu wants one."),
        Accepts(words=CONVERTED_DEVICES, hint=_NOT_CONVERTED, instead=_NO_DEVICES),
    ] = DEFAULT_PROVIDER.device
    execution_provider: Annotated[
        str,
        About("ONNX Runtime's name for what computes it there (docs/execution-providers.md)."),
        Accepts(words=tuple(CONVERTED), hint=_NOT_CONVERTED, instead=_NO_PROVIDERS),
    ] = DEFAULT_PROVIDER.name


@dataclass(frozen=True, kw_only=True)
class Generation:
    """Defaults for requests that do not say otherwise; what is left out stays as the source model brings it."""

    max_length: Annotated[
        int | None,
        About("Most tokens of prompt and answer; Foundry Local 2.2 goes by the model's context length."),
        whole(1, 10_000_000, _AT_LEAST_ONE),
    ] = None
    temperature: Annotated[float | None, About("Low is steady, high is varied."), number(0, 2)] = None
    top_p: Annotated[
        float | None,
        About("Keep the likeliest tokens up to this share."),
        Accepts(expected="a number above 0, at most 1", above=0, most=1),
    ] = None
    top_k: Annotated[
        int | None, About("Keep this many of the likeliest tokens; 1 is greedy."), whole(1, 1_000_000, _AT_LEAST_ONE)
    ] = None
    repetition_penalty: Annotated[float | None, About("Above 1 discourages repeating; 1 is off."), _PENALTY] = None
    no_repeat_ngram_size: Annotated[
        int | None,
        About("No sequence of this many tokens twice; 0 is off."),
        whole(0, 1_000, "a whole number from 0 (off) to 1000"),
    ] = None
    random_seed: Annotated[
        int | None,
        About("Makes sampling repeatable; -1 is random."),
        whole(-1, MAX_SEED, f"a whole number from -1 (random) to {MAX_SEED}"),
    ] = None


@dataclass(frozen=True, kw_only=True)
class Roles:
    """Foundry's own template form: one pattern per role, `{Content}` is the message."""

    system: str = ""
    user: str = ""
    assistant: str = ""
    prompt: str = ""


@dataclass(frozen=True, kw_only=True)
class Template:
    """A chat template, resolved: `jinja` is what the runtime renders; None keeps what the tokenizer brings.

    `origin` says where it comes from, for people: `preset chatml`, `PromptTemplate support`, `inline`, `source`.
    `roles` is the role form when the template has one (it goes into inference_model.json).
    """

    origin: str
    jinja: str | None
    roles: Roles | None = None
    fixtures: tuple[Fixture, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Requirement:
    """One statement about a label, of a machine or of a model."""

    key: Annotated[str, About("The label's key."), LABEL]
    operator: Annotated[
        Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"],
        About("Gt and Lt compare whole numbers; NotIn holds without the label."),
    ]
    values: Annotated[
        tuple[Label, ...],
        About("At least one for In and NotIn, one whole number for Gt and Lt, else none."),
        Accepts(most=100),
    ] = ()


@dataclass(frozen=True, kw_only=True)
class LabelSelector:
    """Which machines, or which models, are meant: all that it says must hold of their labels."""

    match_labels: Annotated[dict[str, Label], About("Labels that it must have.")] = field(default_factory=dict)
    match_expressions: Annotated[
        tuple[Requirement, ...], About("Requirements on its labels; all must hold."), Accepts(most=100)
    ] = ()


@dataclass(frozen=True, kw_only=True)
class Retry:
    """When a step of a model that failed is given up. Between two tries the pauses grow, up to an hour."""

    limit: Annotated[
        int | None,
        About(
            "How often a failed step is tried again: then the model is Stalled until what it is made from changes, or "
            "`reconciler retry`. Default: without end."
        ),
        whole(0, 1000),
    ] = None


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """The fields of a Model's spec that stand for themselves: this description alone reads, documents and compares
    them."""

    task: Annotated[
        str,
        About("What the model is for, as Foundry Local names it."),
        Accepts(words=TASKS, hint=OTHER_TASKS, instead=_NO_TASKS),
    ] = CHAT
    quantization: Annotated[Quantization, About("How weights are rounded (int8 and int4).")] = Quantization()
    target: Annotated[Target, About("The hardware that the model is converted for.")] = Target()
    generation: Annotated[Generation, About("Defaults for requests that do not say otherwise.")] = Generation()
    suspend: Annotated[bool, About("Leave the model as it is on this machine, whatever git says."), FLAG] = False
    retain_for: Annotated[
        float, About("How long a predecessor stays registered beside its successor, such as 90s or 1h30m."), DURATION
    ] = 0.0
    revision_history_limit: Annotated[
        int,
        About("How many earlier releases of a variant can be served again: their artifacts are kept."),
        whole(0, 20),
    ] = 1
    node_selector: Annotated[LabelSelector | None, About("Which machines the model is for. Default: all.")] = None
    depends_on: Annotated[
        tuple[ModelName, ...],
        About("Models that must be ready on the machine before a new release of this one is made."),
        Accepts(most=100),
    ] = ()
    retry: Annotated[Retry, About("When a failed step is given up.")] = Retry()


@dataclass(frozen=True, kw_only=True)
class Model(ModelOptions):
    """One `kind: Model` document, with every reference resolved and every default filled in.

    `source_path` and `adapter_path` are absolute; `file` is as the user names it (for messages), `line` 1-based.
    A model from a remote source has `remote` and no `source_path`: each machine keeps its files in its own cache. One
    that is `ready` is an ONNX folder, which is served as it is; its original, which it is compared with, is a folder
    (`original_path`) or remote (`original`), or it has none.
    `lines` says where its fields stand, for what a source, once looked at, turns out not to fit.
    """

    name: str
    file: str
    line: int
    lines: dict[str, int] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    source_path: str = ""
    remote: LockedSource | None = None
    ready: bool = False
    adapter_path: str | None = None
    original_path: str = ""
    original: LockedSource | None = None
    precisions: tuple[str, ...]
    chooses: bool = False  # `precisions: auto`: each machine takes one of them
    template: Template
    gates: GateSpec = GateSpec()
    delete_first: bool = False  # the old one may go before the new one is built

    def line_of(self, field: str) -> int:
        """The line of `spec.source` and the like; of the document where the author left the field out."""
        return self.lines.get(field, self.line)

    @property
    def remotes(self) -> tuple[LockedSource, ...]:
        """All that it takes from elsewhere."""
        return tuple(one for one in (self.remote, self.original) if one is not None)

    @property
    def prune_disabled(self) -> bool:
        return self.annotations.get(PRUNE_ANNOTATION) == "disabled"


def variant_name(model: str, precision: str) -> str:
    """The Foundry name of one model at one precision."""
    return f"{model}-{precision}"
