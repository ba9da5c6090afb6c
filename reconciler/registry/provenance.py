"""What a builder states of an artifact: an in-toto Statement (v1) with SLSA provenance (v1) as its predicate. Who built
it by which recipe, from which manifests, source and tools, when; and its numbers, the digest of its reference answers
and the verdicts of its gates, as byproducts.

Pure. `written` gives the bytes that are signed, `read` checks those of another builder against the artifact and the
build key that are wanted; fields that it does not know are ignored, as in-toto wants it.
"""

import base64
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reconciler.conversion.toolchain import OWN_TOOL
from reconciler.domain import digest as digests
from reconciler.domain.machine.trust import STATEMENT
from reconciler.domain.measured import Fidelity, without_nothing
from reconciler.domain.plain_data import as_dict
from reconciler.domain.text.quoting import shown
from reconciler.domain.verdict import Verdict
from reconciler.host.codec import Codec, Misformed, as_mapping, parse_json
from reconciler.registry.bundle import LIMIT

PREDICATE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "https://reconciler.foundry/build/v1"
FIDELITY, REFERENCE, GATES = "fidelity", "reference", "gates"  # names of byproducts
FIDELITY_TYPE = "application/vnd.foundry-reconciler.fidelity.v1+json"
GATES_TYPE = "application/vnd.foundry-reconciler.gates.v1+json"
LARGEST_NUMBERS = 4096  # bytes

_REVISION = re.compile(r"(?P<name>.*)@(?P<algorithm>sha1|sha256):(?P<hex>[0-9a-f]+)")
_FIDELITY = Codec(Fidelity)


class NotThisBuild(ValueError):
    """In words that say what is wrong."""


@dataclass(frozen=True, kw_only=True)
class Manifests:
    """Where a build was declared: `repository` is "" for a folder, `revision` as plans show it, `files` the manifests
    of the models that want it."""

    revision: str
    repository: str = ""
    files: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Build:
    """What there is to say of one artifact. Times are RFC 3339, UTC."""

    artifact: str
    repository: str  # of the registry
    build_key: str
    recipe: Mapping[str, Any]
    manifests: Manifests
    builder: str  # a URI
    version: str  # of this program
    started: str
    finished: str
    fidelity: Fidelity | None = None
    reference: str = ""  # the digest of the document
    gates: Sequence[Verdict] = ()


@dataclass(frozen=True, kw_only=True)
class Stated:
    """What a machine takes from a statement: numbers, and the digest of reference answers, where there are any."""

    fidelity: Fidelity | None
    reference: str = ""


def written(build: Build) -> bytes:
    predicate = {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {
                "buildKey": build.build_key,
                "recipe": dict(build.recipe),
                "manifests": as_dict(build.manifests),
            },
            "resolvedDependencies": list(_dependencies(build)),
        },
        "runDetails": {
            "builder": {"id": build.builder, "version": {"foundry-reconciler": build.version}},
            "metadata": {"startedOn": build.started, "finishedOn": build.finished},
            "byproducts": list(_byproducts(build)),
        },
    }
    return statement(build.repository, build.artifact, PREDICATE, predicate)


def statement(name: str, digest: str, kind: str, predicate: Mapping[str, Any]) -> bytes:
    """An in-toto statement: `predicate`, of this kind, about what has this digest."""
    return digests.canonical(
        {
            "_type": STATEMENT,
            "subject": [{"name": name, "digest": _digest(digest)}],
            "predicateType": kind,
            "predicate": dict(predicate),
        }
    )


def read(payload: bytes, artifact: str, build_key: str) -> Stated:
    """The numbers of the build, where it has any. Raises NotThisBuild for a statement about anything else than this
    artifact, built by this key."""
    try:
        statement = as_mapping(parse_json(payload, LIMIT))
        _require(statement["_type"] == STATEMENT, "it is no in-toto statement (v1)")
        kind = statement["predicateType"]
        # guard: only a provenance counts
        _require(kind == PREDICATE, f"its predicate is of type {shown(str(kind))}, expected {PREDICATE}")
        subjects = [one["digest"].get("sha256") for one in statement["subject"]]
        # guard: a statement is about this artifact
        _require(artifact.removeprefix("sha256:") in subjects, "it is about another artifact")
        definition = statement["predicate"]["buildDefinition"]
        built_by = definition["buildType"]
        _require(built_by == BUILD_TYPE, f"its build is of type {shown(str(built_by))}, expected {BUILD_TYPE}")
        parameters = definition["externalParameters"]
        # guard: a statement is about this build key
        _require(parameters["buildKey"] == build_key, "it is about another build key")
        recipe = digests.of_value(parameters["recipe"])
        # guard: a statement has this recipe
        _require(recipe == build_key, "its recipe is not the one that its build key names")
        byproducts = statement["predicate"]["runDetails"].get("byproducts", ())
        return Stated(fidelity=_numbers(byproducts, build_key), reference=_reference(byproducts))
    except NotThisBuild:
        raise
    except (Misformed, LookupError, ValueError, TypeError, AttributeError, RecursionError):
        raise NotThisBuild("it has not the form of a provenance") from None


def numbers_in(data: bytes, build_key: str) -> Fidelity | None:
    """Those of a comparison, as a builder wrote them. None for what has another form or is about another build key, and
    where there are none."""
    try:
        parse_json(data, LARGEST_NUMBERS)
        found = _FIDELITY.read_json(data)
    except Misformed:
        return None
    # guard: numbers count for their build key
    fits = found.build_key == build_key
    return found if fits and found.positions > 0 and not found.unmeasured else None


def _numbers(byproducts: Sequence[Mapping[str, Any]], build_key: str) -> Fidelity | None:
    contents = (base64.b64decode(one["content"], validate=True) for one in byproducts if one["name"] == FIDELITY)
    return next((numbers_in(one, build_key) for one in contents), None)


def _reference(byproducts: Sequence[Mapping[str, Any]]) -> str:
    found = (one["digest"]["sha256"] for one in byproducts if one["name"] == REFERENCE)
    return next((f"sha256:{one}" for one in found if isinstance(one, str)), "")


def _dependencies(build: Build) -> Iterator[dict[str, Any]]:
    """What decided the bytes."""
    recipe, manifests = build.recipe, build.manifests
    if named := _REVISION.fullmatch(manifests.revision):
        algorithm = "gitCommit" if manifests.repository else str(named["algorithm"])
        where = {"uri": f"git+{manifests.repository}@{named['hex']}"} if manifests.repository else {}
        yield {"name": "manifests", "digest": {algorithm: named["hex"]}, **where}
    for name in ("source", "adapter"):
        if recipe.get(name):
            yield {"name": name, "digest": _digest(str(recipe[name]))}
    for tool, version in sorted(dict(recipe.get("tools") or {}).items()):
        yield {"uri": f"pkg:{'generic' if tool == OWN_TOOL else 'pypi'}/{tool}@{version}"}


def _byproducts(build: Build) -> Iterator[dict[str, Any]]:
    if build.fidelity is not None:
        yield _byproduct(FIDELITY, FIDELITY_TYPE, without_nothing(as_dict(build.fidelity)))
    if build.reference:
        yield {"name": REFERENCE, "mediaType": FIDELITY_TYPE, "digest": _digest(build.reference)}
    if build.gates:
        verdicts = [{key: held for key, held in as_dict(one).items() if key != "misses"} for one in build.gates]
        yield _byproduct(GATES, GATES_TYPE, verdicts)


def _byproduct(name: str, kind: str, value: object) -> dict[str, Any]:
    content = base64.b64encode(json.dumps(value, sort_keys=True).encode()).decode()
    return {"name": name, "mediaType": kind, "content": content}


def _digest(digest: str) -> dict[str, str]:
    algorithm, _, rest = digest.partition(":")
    return {algorithm: rest}


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise NotThisBuild(otherwise)
