"""The gates of a Model, as types (part of manifests.schema): which bars exist, what they mean and what they accept."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, model_validator

from reconciler.domain.bars import CHECKS, ON_FAIL
from reconciler.domain.quoting import listed
from reconciler.gates.golden import pattern_refusal
from reconciler.gates.json_schema import schema_refusal
from reconciler.manifests.fields import (
    AnyText,
    Flag,
    RelativePath,
    as_flag,
    as_number,
    as_text,
    as_whole,
    expect,
    refusal,
)
from reconciler.manifests.loader import Plain
from reconciler.manifests.strict import Strict

Share = Annotated[float, Field(ge=0, le=1), expect("a number from 0 to 1", as_number)]
Divergence = Annotated[float, Field(ge=0, le=100), expect("a number from 0 to 100 (nats)", as_number)]
Ratio = Annotated[float, Field(ge=1, le=1000), expect("a number from 1 to 1000", as_number)]
Rate = Annotated[float, Field(gt=0, le=1_000_000), expect("a number above 0", as_number)]
Memory = Annotated[
    str,
    StringConstraints(pattern=r"^[1-9][0-9]{0,8}(Mi|Gi|Ti)$"),
    expect("an amount of memory such as 512Mi or 4Gi", as_text),
]
Duration = Annotated[
    str,
    StringConstraints(
        pattern=r"^(?:[0-9]{0,5}[1-9][0-9]{0,5}(?:\.[0-9]{1,6})?|[0-9]{1,6}\.[0-9]{0,5}[1-9][0-9]{0,5})(ms|s|m)$"
    ),
    expect("a duration such as 300ms or 1.5s", as_text),
]
Reason = Annotated[
    str,
    StringConstraints(min_length=1, max_length=200, strip_whitespace=True),
    expect("why, in a few words", as_text),
]
Count = Annotated[int, Field(ge=1, le=200), expect("a whole number from 1 to 200", as_whole)]
Tokens = Annotated[int, Field(ge=1, le=1024), expect("a whole number from 1 to 1024", as_whole)]
Length = Annotated[int, Field(ge=1, le=1_000_000), expect("a whole number of at least 1", as_whole)]
Requests = Annotated[int, Field(ge=8, le=100_000), expect("a whole number from 8 to 100000", as_whole)]
OnFail = Annotated[Literal["reject", "warn", "inconclusive"], expect(listed(ON_FAIL), as_text, known=ON_FAIL)]
Role = Annotated[
    Literal["system", "user", "assistant"],
    expect("system, user or assistant", as_text, known=("system", "user", "assistant")),
]
Text = Annotated[
    str,
    StringConstraints(min_length=1, max_length=16_384),
    expect("text of 1 to 16,384 characters", as_text),
]


def _sound_pattern(value: str) -> str:
    if why := pattern_refusal(value):
        hint = "a pattern is tried on every look at the machine, so it must never take long"
        raise refusal(f"a simple regular expression ({why})", Plain(value), hint, "PatternRefused")
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


class FidelityBars(Strict):
    """The converted model against its source, on fixed prompts. Bars left out keep the default of the precision."""

    min_top1_agreement: Share | None = Field(
        default=None, description="Least share of positions where both find the same token likeliest."
    )
    max_mean_kl: Divergence | None = Field(
        default=None, alias="maxMeanKL", description="Most mean KL divergence from the source, in nats."
    )
    max_perplexity_ratio: Ratio | None = Field(
        default=None, description="Most perplexity, in that of the source."
    )
    max_wiring_kl: Divergence | None = Field(
        default=None,
        alias="maxWiringKL",
        description="Most mean KL divergence from the source rounded alike: what rounding cannot explain.",
    )
    skip: Reason | None = Field(default=None, description="Do not ask for it, and why.")

    @model_validator(mode="after")
    def _skipped_or_barred(self) -> FidelityBars:
        written = self.model_dump(exclude_none=True)
        if self.skip is not None and len(written) > 1:
            raise refusal("either `skip` or bars", written, "delete one of the two")
        return self


class LoadBars(Strict):
    max_memory: Memory | None = Field(
        default=None, description="Most memory of the process that loads and answers."
    )


class GoldenMessage(Strict):
    role: Role = Field(description="Who says it.")
    content: Text = Field(description="What is said.")


class GoldenCase(Strict):
    """One line of a JSONL file, or one item of `cases`."""

    prompt: Text | None = Field(default=None, description="What a user asks; short for one message.")
    messages: Annotated[list[GoldenMessage], Field(min_length=1, max_length=50)] | None = Field(
        default=None, description="A whole conversation."
    )
    exact: AnyText | None = Field(
        default=None, description="The answer, white space around it apart, is this."
    )
    contains: Annotated[AnyText, StringConstraints(min_length=1)] | None = Field(
        default=None, description="The answer has this in it."
    )
    regex: Annotated[str, AfterValidator(_sound_pattern), BeforeValidator(as_text)] | None = Field(
        default=None, description="The answer matches this (Python's syntax, at most two open repeats)."
    )
    json_schema: (
        Annotated[dict[str, Any], AfterValidator(_sound_schema), BeforeValidator(_as_data)] | None
    ) = Field(default=None, description="The answer is JSON of this schema.")

    @model_validator(mode="after")
    def _one_of_each(self) -> GoldenCase:
        written = {str(type(self).model_fields[name].alias) for name in self.model_dump(exclude_none=True)}
        for choice in (("prompt", "messages"), CHECKS):
            found = [name for name in choice if name in written]
            if len(found) != 1:
                raise refusal(f"one of {listed(choice)}", Plain(" and ".join(found) or "none"))
        return self


class PromptBars(Strict):
    file: RelativePath | None = Field(
        default=None, description="A JSONL file of golden prompts, relative to this file."
    )
    cases: Annotated[list[GoldenCase], Field(min_length=1, max_length=200)] | None = Field(
        default=None, description="Golden prompts, here."
    )
    min_pass: Count | None = Field(
        default=None, description="How many must be answered rightly. Default: all."
    )
    max_tokens: Tokens = Field(default=64, description="Most tokens of an answer.")
    greedy: Flag = Field(default=True, description="Always the likeliest token, so that answers repeat.")

    @model_validator(mode="after")
    def _file_or_cases(self) -> PromptBars:
        if (self.file is None) == (self.cases is None):
            found = "both" if self.file else "neither"
            raise refusal("either `file` or `cases`", Plain(found))
        return self


class PerformanceBars(Strict):
    prompt_lengths: Annotated[list[Length], Field(min_length=1, max_length=8)] = Field(
        default=[128], description="Tokens of the prompts that are timed."
    )
    max_time_to_first_token: Duration | None = Field(
        default=None, description="Longest wait at any of the lengths."
    )
    min_tokens_per_second: Rate | None = Field(
        default=None, description="Least speed of answering at any of the lengths."
    )
    max_peak_memory: Memory | None = Field(default=None, description="Most memory while doing so.")
    on_fail: OnFail = Field(
        default="reject", description="`warn` and `inconclusive` let the release be served all the same."
    )


class EnduranceBars(Strict):
    requests: Requests = Field(default=50, description="How many are made in a row.")
    max_memory_growth: Memory | None = Field(
        default=None, description="Most growth after the warm-up. Default 64Mi."
    )
    max_latency_drift: Ratio | None = Field(
        default=None, description="Most latency of the last quarter, in that of the first. Default 2."
    )
    bad_input: Flag = Field(
        default=True, description="Empty, too long and odd input must get an answer or an error, not a crash."
    )


class Gate(Strict):
    """One gate: exactly one of these."""

    fidelity: FidelityBars | None = Field(
        default=None, description="The converted model against its source. Always there."
    )
    load: LoadBars | None = Field(
        default=None, description="It loads and answers in the real runtime. Always there."
    )
    prompts: PromptBars | None = Field(default=None, description="Golden prompts and their answers.")
    performance: PerformanceBars | None = Field(default=None, description="How fast it answers here.")
    endurance: EnduranceBars | None = Field(default=None, description="Many requests in a row, and bad ones.")

    @model_validator(mode="after")
    def _just_one(self) -> Gate:
        written = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(written) != 1:
            named = listed(type(self).model_fields)
            raise refusal(f"one gate ({named})", Plain(" and ".join(written) or "none"))
        return self
