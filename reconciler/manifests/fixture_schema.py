"""The fixtures of a template, as types (part of manifests.schema)."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from reconciler.manifests.fields import AnyText, Flag, RelativePath, refusal
from reconciler.manifests.gate_schema import GoldenMessage
from reconciler.manifests.loader import Plain
from reconciler.manifests.strict import Strict


class FixtureManifest(Strict):
    """A conversation, and the very text that the template makes of it."""

    messages: Annotated[list[GoldenMessage], Field(min_length=1, max_length=50)] = Field(
        description="The conversation."
    )
    rendered: AnyText | None = Field(default=None, description="What the model reads, here.")
    file: RelativePath | None = Field(
        default=None, description="What the model reads, in a file; its last line end is not part of it."
    )
    add_generation_prompt: Flag = Field(
        default=True, description="An answer is to begin, as in every request; `false` is checked by `validate` only."
    )
    bos_token: AnyText | None = Field(default=None, description="What `bos_token` is, for a template that asks.")
    eos_token: AnyText | None = Field(default=None, description="What `eos_token` is, for a template that asks.")

    @model_validator(mode="after")
    def _text_or_file(self) -> Self:
        if (self.rendered is None) == (self.file is None):
            found = "both" if self.file else "neither"
            raise refusal("either `rendered` or `file`", Plain(found))
        return self


Fixtures = Annotated[list[FixtureManifest], Field(max_length=100)]
