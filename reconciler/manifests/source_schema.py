"""Where a model comes from, as a manifest declares it. Each field of `SourceManifest` whose type is a `RemoteManifest`
is a kind of remote source: its name is the kind, its type the form of `repo` and `revision`, here and in the lock file.
What fetches from it is in `engine.remote_sources.kinds`.
"""

import re
from typing import Annotated, Any, ClassVar

from annotated_types import Predicate
from pydantic import ConfigDict, Field, StringConstraints, model_validator

from reconciler.domain.machine.registries import read_address
from reconciler.domain.sources.locked import CATALOG, SAFE_ENDINGS
from reconciler.domain.text.quoting import listed
from reconciler.manifests.field_types import RelativePath, Strict, as_text, expect, is_null, optional, refusal
from reconciler.manifests.loader import Plain

_PART = r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?"
_REPO = re.compile(f"{_PART}/{_PART}")
_FOLDER = re.compile(r"[A-Za-z0-9._+=@-]{1,128}")
_PATTERN = re.compile(r"[A-Za-z0-9._*?+=@-]{1,128}")


def is_repo(text: str) -> bool:
    """Of the Hugging Face hub."""
    return _REPO.fullmatch(text) is not None and "--" not in text and ".." not in text


def _is_pattern(text: str) -> bool:
    """Ends as a file may end: a pattern such as `*` would ask for pickles."""
    return _PATTERN.fullmatch(text) is not None and text.endswith(SAFE_ENDINGS)


Repo = Annotated[str, Predicate(is_repo), expect("the name of a model on the hub, such as org/name", as_text)]
Revision = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9a-f]{40}$"),
    expect(
        "a commit of 40 hex digits",
        as_text,
        "a branch can move; `reconciler lock --commit-of org/name@main` prints the commit it is at",
    ),
]
FilePattern = Annotated[
    str,
    Predicate(_is_pattern),
    expect(
        f"a pattern for files in the top folder that ends in {listed(SAFE_ENDINGS)}",
        as_text,
        "other files may be pickles or programs, and reading one can run code",
    ),
]


def is_folder(text: str) -> bool:
    """In a repository: plain names, none of which leads elsewhere."""
    parts = text.split("/")
    return len(text) <= 200 and all(_FOLDER.fullmatch(part) and part.strip(".") for part in parts)


Folder = Annotated[
    str, Predicate(is_folder), expect("a folder of the repository, such as cpu_and_mobile/cpu-int4", as_text)
]
FilePatterns = Annotated[list[FilePattern], Field(min_length=1, max_length=50)]


class RemoteManifest(Strict):
    """What every kind declares; a kind narrows `repo`, and `revision` to what never moves."""

    repo: str = Field(description="The repository.")
    revision: str = Field(description="One state of it, which never changes.")
    include: FilePatterns | None = optional(
        "Which files, as patterns such as `*.safetensors`. Default: what a model folder needs."
    )


class HuggingFace(RemoteManifest):
    """A model on the hub. Its files are pinned, one by one, in the lock file beside the manifests."""

    repo: Repo = Field(description="The model's name on the hub: `org/name`.")
    revision: Revision = Field(description="The commit: 40 hex digits. A branch could move.")


CatalogName = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"),
    expect("the name of one variant in Foundry's catalog, such as phi-4-mini-instruct-generic-cpu", as_text),
]
CatalogVersion = Annotated[
    str,
    StringConstraints(pattern=r"^(0|[1-9][0-9]{0,8})$"),
    expect(
        "a version of the catalog, such as 5",
        as_text,
        "`latest` would move; `reconciler lock --commit-of catalog/NAME` prints the newest one",
    ),
]


class CatalogManifest(RemoteManifest):
    """A model of Foundry's own catalog, served as it is. Its files are pinned, one by one, in the lock file."""

    repo: CatalogName = Field(alias="name", description="The variant's name in the catalog, without its version.")
    revision: CatalogVersion = Field(alias="version", description="Its version: a number, which never moves.")


def is_oci_repository(text: str) -> bool:
    return "/" in text and read_address(f"https://{text}") is not None


OciRepository = Annotated[
    str,
    Predicate(is_oci_repository),
    expect(
        "a repository of a registry, such as registry.example.org/models/support",
        as_text,
        "without https:// and without a tag, in lower case",
    ),
]
OciDigest = Annotated[
    str,
    StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$"),
    expect(
        "the digest of a manifest, sha256: and 64 hex digits",
        as_text,
        "a tag can move; `reconciler lock --commit-of oci/HOST/REPOSITORY:TAG` prints the digest it is at",
    ),
]


class OnnxOci(RemoteManifest):
    """A ready ONNX folder in a registry, as `oras push` lays it out: a layer for each file. Its files are pinned, one
    by one, in the lock file."""

    repo: OciRepository = Field(alias="repository", description="Host and repository, without a tag.")
    revision: OciDigest = Field(alias="digest", description="The manifest's digest, which never moves.")
    folder: Folder | None = optional("The folder that its files name. Default: none.")


class OnnxHuggingFace(HuggingFace):
    """A ready ONNX folder on the hub, pinned like any other source."""

    folder: Folder | None = optional("The folder of the repository that it lies in. Default: the top.")


def _either(schema: dict[str, Any], kind: "type[OnePlace]") -> None:
    schema["oneOf"] = [{"required": [place]} for place in kind.places()]


class OnePlace(Strict):
    """Each field is a place, and exactly one is given; those of `beside` say something else."""

    model_config = ConfigDict(json_schema_extra=_either)
    beside: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def places(cls) -> list[str]:
        return [name for name in cls.model_fields if name not in cls.beside]

    @model_validator(mode="before")
    @classmethod
    def _only_one(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        expected = listed([f"`{place}`" for place in cls.places()])
        if "oci" in value and "oci" not in cls.places():
            hint = "a ready ONNX model in a registry is `onnx: {oci: ...}`; of another give the folder as `path`"
            raise refusal(expected, Plain("oci"), hint, "NotSupported")
        given = [place for place in cls.places() if not is_null(value.get(place, Plain()))]
        if len(given) != 1:
            raise refusal(f"one source, either {expected}", Plain(" and ".join(given) or "neither"))
        return value


class OnnxManifest(OnePlace):
    """An onnxruntime-genai folder, which is served as it is: nothing is converted."""

    path: RelativePath | None = optional("A folder with genai_config.json, relative to this file.")
    huggingface: OnnxHuggingFace | None = optional("Such a folder on the Hugging Face hub, instead of `path`.")
    oci: OnnxOci | None = optional("Such a folder in an OCI registry, instead of `path`.")


class OriginalManifest(OnePlace):
    """What a ready ONNX model was made from: it is compared with that, which is never served."""

    path: RelativePath | None = optional("A folder in Hugging Face layout, relative to this file.")
    huggingface: HuggingFace | None = optional("A model on the Hugging Face hub, instead of `path`.")


class SourceManifest(OnePlace):
    """The one place that the model comes from, and what is merged in."""

    beside = ("original", "adapter")

    path: RelativePath | None = optional("A folder in Hugging Face layout, relative to this file.")
    huggingface: HuggingFace | None = optional("A model on the Hugging Face hub, instead of `path`.")
    catalog: CatalogManifest | None = optional("A model of Foundry's own catalog, instead of `path`.")
    onnx: OnnxManifest | None = optional("A ready ONNX model, which is served as it is, instead of `path`.")
    original: OriginalManifest | None = optional("Of a ready ONNX or catalog model: what it was made from.")
    adapter: RelativePath | None = optional(
        "A LoRA adapter folder that is merged in first; the tokenizer and the template beside it go before the base's."
    )

    @property
    def remote(self) -> tuple[str, RemoteManifest] | None:
        """The kind, and what is declared of it; None for a folder."""
        place, kinds = (self, REMOTE_KINDS) if self.onnx is None else (self.onnx, ONNX_KINDS)
        return next(((kind, held) for kind in kinds if (held := getattr(place, kind)) is not None), None)


def _kinds_of(place: type[Strict]) -> dict[str, type[RemoteManifest]]:
    """By name of the field."""
    return {
        name: kind
        for name, field in place.model_fields.items()
        for kind in getattr(field.annotation, "__args__", ())
        if isinstance(kind, type) and issubclass(kind, RemoteManifest)
    }


REMOTE_KINDS = _kinds_of(SourceManifest)
ONNX_KINDS = _kinds_of(OnnxManifest)  # of ready ONNX folders
READY_KINDS = ONNX_KINDS | {CATALOG: CatalogManifest}  # of all that is served as it is
