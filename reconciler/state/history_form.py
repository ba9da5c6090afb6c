"""How the history of a variant looks on disk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconciler.domain.history import History, Past, Rollback
from reconciler.domain.manifest import Generation, Target
from reconciler.domain.release import Recipe, Release
from reconciler.domain.value import as_dict
from reconciler.host.sealed import Damaged
from reconciler.state.documents import Document


def read_history(variant: str, document: Document) -> History:
    """Raises Damaged also for a document that stands under another variant's name."""
    try:
        if document["variant"] != variant:
            raise Damaged(f"it is about {document['variant']}")
        return tuple(past_from_json(one) for one in document["releases"])
    except (LookupError, TypeError) as error:
        raise Damaged(str(error)) from None


def write_history(variant: str, history: History) -> Document:
    return {"variant": variant, "releases": [as_dict(one) for one in history]}


def past_from_json(one: dict[str, Any]) -> Past:
    return Past(**one | {"release": _release(one["release"])})


def read_rollbacks(document: Document) -> dict[str, Rollback]:
    try:
        return {
            variant: Rollback(**one | {"refused": tuple(one["refused"]), "to": past_from_json(one["to"])})
            for variant, one in document["rollbacks"].items()
        }
    except (LookupError, TypeError, AttributeError) as error:
        raise Damaged(str(error)) from None


def write_rollbacks(rollbacks: Mapping[str, Rollback]) -> Document:
    return {"rollbacks": {variant: as_dict(one) for variant, one in rollbacks.items()}}


def _release(one: dict[str, Any]) -> Release:
    recipe = Recipe(**one["recipe"] | {"target": Target(**one["recipe"]["target"])})
    return Release(**one | {"recipe": recipe, "generation": Generation(**one["generation"])})
