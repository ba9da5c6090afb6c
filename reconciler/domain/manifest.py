"""What git declares, as plain values. Parsing lives in `manifests.schema` and `manifests.loader`; these types are
what the planner sees, so that `plan` on unchanged files never has to load pydantic or a YAML parser."""

from __future__ import annotations

from dataclasses import dataclass, field

from reconciler.domain.bars import Fixture, Gates
from reconciler.domain.hub import HubSource
from reconciler.domain.targets import DEFAULT

API_VERSION = "reconciler.foundry/v1alpha1"

PRUNE_ANNOTATION = "reconciler.foundry/prune"


@dataclass(frozen=True, kw_only=True)
class Quantization:
    """How weights are rounded. A field that a precision does not use is left out of its recipe."""

    block_size: int = 32
    symmetric: bool = True
    accuracy_level: int | None = None  # 1 fp32, 2 fp16, 3 bf16, 4 int8 accumulation; None: the tool's default
    algorithm: str = "default"  # default | rtn | k_quant | k_quant_mixed | k_quant_last (int4 only)


@dataclass(frozen=True, kw_only=True)
class Target:
    device: str = DEFAULT.device
    execution_provider: str = DEFAULT.name


@dataclass(frozen=True, kw_only=True)
class Generation:
    """Defaults for requests that do not say otherwise; None keeps what the source model brings."""

    max_length: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    repetition_penalty: float | None = None
    no_repeat_ngram_size: int | None = None
    random_seed: int | None = None


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
    """`values` are empty for Exists and DoesNotExist, one whole number for Gt and Lt."""

    key: str
    operator: str  # manifests.selector.OPERATORS
    values: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Selector:
    """Which machines a model is for: all that it says must hold there."""

    match_labels: dict[str, str] = field(default_factory=dict)
    match_expressions: tuple[Requirement, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Model:
    """One `kind: Model` document, with every reference resolved and every default filled in.

    `source_path` and `adapter_path` are absolute; `file` is as the user names it (for messages), `line` 1-based.
    A model from the hub has `hub` and no `source_path`: where its files are is for the machine to say.
    `lines` says where single fields stand: those that a source, once looked at, can turn out not to fit.
    """

    name: str
    file: str
    line: int
    lines: dict[str, int] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    source_path: str = ""
    hub: HubSource | None = None
    adapter_path: str | None = None
    precisions: tuple[str, ...]
    quantization: Quantization = Quantization()
    target: Target = Target()
    template: Template
    generation: Generation = Generation()
    gates: Gates = Gates()
    suspend: bool = False
    retain_for: float = 0.0  # seconds
    revision_history_limit: int = 1
    delete_first: bool = False  # the old one may go before the new one is built
    node_selector: Selector | None = None

    def line_of(self, field: str) -> int:
        """The line of `spec.source` and the like; of the document where the author left the field out."""
        return self.lines.get(field, self.line)

    @property
    def prune_disabled(self) -> bool:
        return self.annotations.get(PRUNE_ANNOTATION) == "disabled"


def variant_name(model: str, precision: str) -> str:
    """The Foundry name of one model at one precision."""
    return f"{model}-{precision}"
