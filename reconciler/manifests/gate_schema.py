"""How a manifest writes its gates: one item each under `spec.gates`.

The bars of a gate are described by its dataclass in `gates/`; only golden prompts are written in forms of their own.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, create_model, model_validator

from reconciler.domain.gate_spec import Gate
from reconciler.domain.text.names import camel
from reconciler.gates.embeddings import EmbeddingsGate
from reconciler.gates.judgement import GATES
from reconciler.gates.prompts import CHECKS, PromptsGate, pattern_refusal, schema_refusal
from reconciler.gates.speech import ENGLISH, HEARD, LANGUAGES, SpeechGate
from reconciler.manifests.described import manifest_type
from reconciler.manifests.field_types import (
    AnyText,
    Flag,
    RelativePath,
    Strict,
    as_flag,
    as_number,
    as_text,
    as_whole,
    expect,
    one_of,
    optional,
    refusal,
)
from reconciler.manifests.loader import Plain

MOST_CASES = 200
MOST_RECORDINGS = 20


def _known_language(value: str) -> str:
    if value not in LANGUAGES:
        hint = "Foundry Local would hear it as English, and say nothing of it"
        raise refusal("a language that Foundry Local asks for, by its code, such as en or sl", Plain(value), hint)
    return value


Count = Annotated[int, Field(ge=1, le=MOST_CASES), expect(f"a whole number from 1 to {MOST_CASES}", as_whole)]
Tokens = Annotated[int, Field(ge=1, le=1024), expect("a whole number from 1 to 1024", as_whole)]
Dimensions = Annotated[int, Field(ge=1, le=65_536), expect("a whole number from 1 to 65536", as_whole)]
Cosine = Annotated[float, Field(ge=-1, le=1), expect("a number from -1 to 1", as_number)]
Role = Annotated[Literal["system", "user", "assistant"], one_of(("system", "user", "assistant"))]
Language = Annotated[str, AfterValidator(_known_language), BeforeValidator(as_text)]
Text = Annotated[
    str, StringConstraints(min_length=1, max_length=16_384), expect("text of 1 to 16,384 characters", as_text)
]


Words = Annotated[
    str,
    StringConstraints(pattern=r"\S", max_length=4096),
    expect("text of 1 to 4,096 characters, not all of them white space: that is in every answer", as_text),
]


def _sound_pattern(value: str) -> str:
    if not value:
        raise refusal("a regular expression (this one matches every answer)", Plain(value), code="PatternRefused")
    if why := pattern_refusal(value):
        hint = "patterns are those of RE2, which always take little time: no look-context, no back reference"
        raise refusal(f"a regular expression ({why})", Plain(value), hint, "PatternRefused")
    return value


def _as_data(value: object) -> object:
    """YAML without quotes is text here; a schema means numbers and flags."""
    if isinstance(value, dict):
        return {str(key): _as_data(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_as_data(inner) for inner in value]
    read = as_flag(as_whole(value))
    return as_text(as_number(read))


def _sound_schema(value: dict[str, Any]) -> dict[str, Any]:
    if why := schema_refusal(value):
        raise refusal(f"a JSON Schema of the supported kind ({why})", value, code="SchemaRefused")
    return value


class GoldenMessage(Strict):
    role: Role = Field(description="Whose message it is.")
    content: Text = Field(description="Its text.")


Messages = Annotated[list[GoldenMessage], Field(min_length=1, max_length=50)]
Pattern = Annotated[str, AfterValidator(_sound_pattern), BeforeValidator(as_text)]
Schema = Annotated[dict[str, Any], AfterValidator(_sound_schema), BeforeValidator(_as_data)]


class GoldenCase(Strict):
    """One line of a JSONL file, or one item of `cases`."""

    exclusive = (("prompt", "messages"), CHECKS)

    prompt: Text | None = optional("What a user asks; short for one message.")
    messages: Messages | None = optional("A whole conversation.")
    exact: AnyText | None = optional("The answer, white space around it apart, is this.")
    contains: Words | None = optional("The answer has this in it.")
    regex: Pattern | None = optional("The answer matches this (RE2's syntax).")
    json_schema: Schema | None = optional("The answer is JSON of this schema.")


Cases = Annotated[list[GoldenCase], Field(min_length=1, max_length=MOST_CASES)]


class PromptsManifest(Strict):
    exclusive = (("file", "cases"),)

    file: RelativePath | None = optional("A JSONL file of golden prompts, relative to this file.")
    cases: Cases | None = optional("Golden prompts, here.")
    min_pass: Count | None = optional("How many must be answered rightly. Default: all.")
    max_tokens: Tokens = Field(default=64, description="Most tokens of an answer.")
    greedy: Flag = Field(default=True, description="Always the likeliest token, so that answers repeat.")


class GoldenTextManifest(Strict):
    """One item of `cases`."""

    exclusive = (("nearest", "similarTo"),)

    text: Text = Field(description="What is embedded.")
    nearest: Text | None = optional("The text of `among` that must be nearest to it.")
    among: Annotated[list[Text], Field(min_length=1, max_length=100)] | None = optional(
        "The texts that `nearest` is compared with; it need not stand among them."
    )
    similar_to: Text | None = optional("A text that must be near it.")
    at_least: Cosine | None = optional("How near: a cosine, 1 is the same direction. Needed for `similarTo`.")

    @model_validator(mode="after")
    def _belong_together(self) -> Self:
        for name, other in (("among", "nearest"), ("at_least", "similar_to")):
            if (getattr(self, name) is None) != (getattr(self, other) is None):
                missing = camel(name if getattr(self, name) is None else other)
                given = camel(other if missing == camel(name) else name)
                raise refusal(f"`{missing}` beside `{given}`", Plain(given))
        if self.among is not None and {*self.among} <= {self.nearest}:
            raise refusal("another text in `among`, to be compared with `nearest`", self.among)
        return self


class EmbeddingsManifest(Strict):
    cases: Annotated[list[GoldenTextManifest], Field(min_length=1, max_length=MOST_CASES)] = Field(
        description="Golden texts."
    )
    min_pass: Count | None = optional("How many must hold. Default: all.")
    dimensions: Dimensions | None = optional("How many numbers an embedding has.")


class GoldenRecordingManifest(Strict):
    """One item of `cases`."""

    exclusive = (HEARD,)

    audio: RelativePath = Field(
        description="The recording, relative to this file: WAV, 16 bits, at least 16 kHz, at most 256 KiB."
    )
    exact: AnyText | None = optional("What is heard, white space around it apart, is this.")
    contains: Words | None = optional("What is heard has this in it.")
    language: Language = Field(default=ENGLISH, description="In which language, by its code, such as `sl`.")


class SpeechManifest(Strict):
    cases: Annotated[list[GoldenRecordingManifest], Field(min_length=1, max_length=MOST_RECORDINGS)] = Field(
        description="Golden recordings."
    )
    min_pass: Count | None = optional("How many must be heard rightly. Default: all.")


_WRITTEN: dict[type[Gate], type[Strict]] = {
    PromptsGate: PromptsManifest,
    EmbeddingsGate: EmbeddingsManifest,
    SpeechGate: SpeechManifest,
}


def written_type(gate: type[Gate]) -> type[Strict]:
    """What a manifest writes under the name of a gate."""
    return _WRITTEN.get(gate) or manifest_type(gate)


DECLARED = {gate.name: gate for gate in GATES if gate.about}


class _OneGate(Strict):
    """One gate: exactly one of these."""

    exclusive = (tuple(DECLARED),)


_ITEMS: dict[str, Any] = {name: (written_type(gate) | None, optional(gate.about)) for name, gate in DECLARED.items()}
GateItem = create_model("Gate", __base__=_OneGate, __doc__=_OneGate.__doc__, **_ITEMS)
