"""What all parts of a manifest have in common as types (manifests.schema)."""

from pydantic import BaseModel, ConfigDict, model_validator

from reconciler.domain.text.names import camel
from reconciler.manifests.fields import is_null


class Strict(BaseModel):
    """Unknown fields are errors, nothing is converted behind the author's back, null means "not set"."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, alias_generator=camel, validate_by_name=False)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        optional = {f.alias for f in cls.model_fields.values() if not f.is_required() and f.default is None}
        return {key: v for key, v in value.items() if not (key in optional and is_null(v))}
