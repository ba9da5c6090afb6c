"""Recipes, artifacts and releases: what decides the bytes, the bytes, and what is served of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from reconciler.domain import digest
from reconciler.domain.digest import StoredFile
from reconciler.domain.manifest import Generation, Target
from reconciler.domain.plain_data import as_dict
from reconciler.domain.targets.tasks import CHAT

# Raise it when the files we write around the weights change, so that every machine serves the new form.
SERVING_FORMAT = 1

# Bytes. A smaller file of an artifact is copied into each served folder, so that an edit in place cannot reach the
# store and is mended from there at once; a larger one is shared, because disks are small.
ALWAYS_COPIED = 16 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides the bytes of a conversion, and nothing else.

    `options` holds only the quantization options that this precision truly uses (names as in the manifest), so that
    an option which acts on int4 alone never rebuilds the int8 variant.
    """

    source: str  # digest of the source model's files
    adapter: str | None
    architecture: str  # config.json architectures[0]
    precision: str
    options: dict[str, str | int | bool]
    target: Target
    tools: dict[str, str]  # package -> version, see conversion.toolchain; none where nothing is converted

    @property
    def as_is(self) -> bool:
        """The artifact is the source's own files: a ready ONNX folder. `precision` is then what its author says."""
        return not self.tools

    @property
    def timed_as(self) -> str:
        """Under which builds that take as long are remembered."""
        return "as-is" if self.as_is else self.precision

    @cached_property
    def build_key(self) -> str:
        """sha256 of the canonical recipe: same key, same artifact, never built twice."""
        return digest.of_value(self.as_json())

    def as_json(self) -> dict[str, object]:
        return as_dict(self)


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """A converted tree in the store. `digest` is that of its OCI manifest, so it covers every file's digest."""

    digest: str
    build_key: str
    files: tuple[StoredFile, ...]

    @cached_property
    def size(self) -> int:
        return sum(file.size for file in self.files)


@dataclass(frozen=True, kw_only=True)
class Release:
    """What one variant should be served as. It is identified by its build key rather than by the artifact, so that it
    can be planned, compared and remembered before the conversion has run (docs/decisions/0003)."""

    variant: str
    model: str
    precision: str
    recipe: Recipe
    template: str  # the jinja text
    template_origin: str
    roles: dict[str, str] | None
    generation: Generation
    task: str = CHAT  # one of domain.targets.tasks; what is no chat has no template

    @cached_property
    def parts(self) -> dict[str, str]:
        """The digests whose change forces a new release, by the name of what changed. The task stands as it is, where
        it is no chat: so releases of models that chat have the digests that they always had."""
        task = {} if self.task == CHAT else {"task": self.task}
        return task | {
            "recipe": self.recipe.build_key,
            "template": _template_digest(self.template, tuple(sorted((self.roles or {}).items()))),
            "generation": _generation_digest(self.generation),
            "format": str(SERVING_FORMAT),
        }

    @cached_property
    def digest(self) -> str:
        return digest.of_value({"variant": self.variant, **self.parts})


# Many models of a fleet share these, and a plan asks for all of them.
@lru_cache(maxsize=256)
def _template_digest(jinja: str, roles: tuple[tuple[str, str], ...]) -> str:
    return digest.of_value({"jinja": jinja, "roles": dict(roles)})


@lru_cache(maxsize=256)
def _generation_digest(generation: Generation) -> str:
    return digest.of_value(as_dict(generation))


@dataclass(frozen=True, kw_only=True)
class ServedRelease:
    """What a variant is served as under one number, as its folder and the records know it."""

    variant: str
    number: int
    release: str  # release digest
    parts: dict[str, str]
    artifact: str  # artifact digest
    build_key: str
    recipe: dict[str, object]
    model: str
    precision: str
    template_origin: str
    generation: dict[str, object]
    protected: bool  # the manifest has prune: disabled
    revision: str

    @property
    def id(self) -> str:
        return f"{self.variant}:{self.number}"


@dataclass(frozen=True, kw_only=True)
class Marker(ServedRelease):
    """`release.json` in a served folder: whose it is, and what it must hold. Enough to rebuild lost records.

    `files` are the digests and sizes of all other files in the folder.
    """

    owner: str
    created: str  # RFC 3339, UTC
    files: tuple[StoredFile, ...]

    @classmethod
    def of(cls, release: Release, **served: Any) -> "Marker":
        """`served`: the fields that the release does not decide: owner, number, artifact, protected, revision, created
        and files."""
        return cls(
            variant=release.variant,
            release=release.digest,
            parts=release.parts,
            build_key=release.recipe.build_key,
            recipe=release.recipe.as_json(),
            model=release.model,
            precision=release.precision,
            template_origin=release.template_origin,
            generation=as_dict(release.generation),
            **served,
        )

    @property
    def task(self) -> str:
        return task_of(self.parts)


def task_of(parts: Mapping[str, str]) -> str:
    """Of a release with these `parts`."""
    return parts.get("task", CHAT)
