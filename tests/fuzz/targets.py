"""What is fuzzed: every reader of bytes that somebody else may have written. A target takes bytes and returns; it may
raise only the errors that it promises (its refusals). Everything else is a finding."""

import atexit
import contextlib
import io
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from reconciler.backends.foundry.folder import MarkerUnreadable, marker_from_json, marker_to_json
from reconciler.backends.foundry.genai_config import genai_config
from reconciler.backends.foundry.index import INDEX, CatalogBroken, read_index
from reconciler.daemon.http.handler import BadRequest
from reconciler.daemon.http.listening import parse_address
from reconciler.daemon.http.routes import is_signed
from reconciler.daemon.notifications.notifications import sink_kinds
from reconciler.daemon.notifications.sinks.webhook import WebhookTarget
from reconciler.domain.digest import StoredFile, of_value
from reconciler.domain.errors import InputRefused, PermanentError, Problem, UsageError
from reconciler.domain.manifest import Generation
from reconciler.domain.sources.model_config import complaints
from reconciler.domain.sources.source_model import SourceModel
from reconciler.fleet.inventory_form import InventoryInvalid, inventory_view, read_inventory
from reconciler.gates.prompts import GoldenPrompt, passes, pattern_refusal, schema_refusal
from reconciler.gates.recording import refused_recording, unheard
from reconciler.host.codec import Damaged, Misformed, seal, unseal
from reconciler.manifests import loader, lock_file
from reconciler.manifests.declaration import ProblemLog
from reconciler.manifests.golden.files import golden_prompts
from reconciler.manifests.machine.config import parse_config, settings_of, traits_of
from reconciler.manifests.parse import parse
from reconciler.registry import archive, artifact, bundle, oci_tar, provenance
from reconciler.sources import model_signature
from reconciler.sources.facts import model_facts, read_model_facts
from reconciler.sources.folder import safetensors_header
from reconciler.sources.folder.speech import check_audio_processor
from reconciler.sources.git import objects as git_objects
from reconciler.sources.git.address import checked_branch, checked_path, checked_url
from reconciler.sources.git.objects import MirrorBroken
from reconciler.sources.git.runner import GitRunner
from reconciler.sources.model_card import read_card
from reconciler.state import events
from reconciler.store.modelpack import NotAnArtifact, manifest_bytes, parse_manifest
from reconciler.templates.lint import lint
from reconciler.templates.renderer import Renderer
from tests.backends.test_marker import MARKER
from tests.bad_inputs.manifests import GOOD, GROUPS
from tests.daemon.requests import read_request
from tests.documents.test_previous_version import FORMS, RECORDS
from tests.fleet.test_inventory import inventory
from tests.gates.test_recording import head_of
from tests.manifests.test_parse import around, model
from tests.planner.world import World
from tests.ready_onnx import HEARD_BY
from tests.registry.test_archive import DECLARED, attached_to, entries, good, manifest, packed

SMALL = 4_000  # bytes of a seed: large ones are slow, and tests/bad_inputs has them


@dataclass(frozen=True, kw_only=True)
class Target:
    """`share`: how often it is drawn, against the others."""

    run: Callable[[bytes], object]
    seeds: list[bytes]
    refusals: tuple[type[Exception], ...] = ()
    share: int = 1


def _corpus(*groups: str) -> list[bytes]:
    cases = [case for group in groups for case in GROUPS[group].values()]
    return [put for case in cases for put in case.values() if isinstance(put, bytes) and len(put) < SMALL]


def _manifest(data: bytes) -> None:
    result = parse({"a.yaml": data, "b.yaml": model("other").encode()}, around({"/repo/manifests/t/ok.jinja": b""}))
    assert any(one.name == "other" for one in result.models) or result.problems
    _one_line(*result.problems, *result.warnings)


def _one_line(*problems: Problem) -> None:
    for problem in problems:
        assert problem.message.isprintable(), problem
        assert len(problem.message) < 1000, problem


def _load(data: bytes) -> None:
    result = loader.load("a.yaml", data)
    _one_line(*result.problems, *(p for document in result.documents for p in document.problems))


def _lint(data: bytes) -> None:
    for finding in lint(data):
        assert finding.message.isprintable(), finding


class _Weights:
    """A model folder of one file, in memory."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def exists(self, _: str) -> bool:
        return True

    def size(self, _: str) -> int:
        return len(self._data)

    @contextlib.contextmanager
    def opened(self, _: str) -> Iterator[io.BytesIO]:
        yield io.BytesIO(self._data)


def _safetensors(data: bytes) -> None:
    safetensors_header.read_shapes(_Weights(data), "w")  # type: ignore[arg-type]


def _audio_processor(data: bytes) -> None:
    check_audio_processor(_Weights(data))  # type: ignore[arg-type]


def _recorded(data: bytes) -> None:
    for said in (refused_recording(data), unheard(data)):
        assert said.isprintable(), said


def _header(data: bytes) -> None:
    """Only the header is mutated: its length fits, and there is some data."""
    _safetensors(len(data).to_bytes(8, "little") + data + b"\0" * 8)


def _request(data: bytes) -> None:
    request = read_request(data)
    if request is not None:
        is_signed(b"secret-of-the-hook", request.headers, request.body)


def _batch(data: bytes) -> None:
    """What `git cat-file --batch` would have printed."""
    objects = git_objects.Objects(GitRunner(""), complete=True)
    objects._answer(SimpleNamespace(stdout=io.BytesIO(data)), "1" * 40)  # type: ignore[arg-type]


def _tree(data: bytes) -> None:
    for entry in git_objects._entries(data, 20):
        assert entry.kind


def _address(data: bytes) -> None:
    text = data.decode(errors="replace")
    for check in (lambda: checked_url(text), lambda: checked_branch(text), lambda: checked_path(text),
                  lambda: WebhookTarget(url=text), lambda: parse_address(text)):  # fmt: skip
        with contextlib.suppress(UsageError):
            check()


def _pattern(data: bytes) -> None:
    text = data.decode(errors="replace")
    if pattern_refusal(text) is None:
        passes(GoldenPrompt(messages=(), check="regex", expected=text), "aaaaaaaaab " * 12)


def _golden_file(data: bytes) -> None:
    findings = ProblemLog()
    golden_prompts(data, "a.jsonl", findings)
    _one_line(*findings.problems)


def _schema(data: bytes) -> None:
    schema = _loaded(data)
    if schema_refusal(schema) is None:
        for value in (schema, None, [1, "a", {"a": 1}], {"a": 1.5, "b": "x"}, 10**400):
            case = GoldenPrompt(messages=(), check="jsonSchema", expected=json.dumps(schema))
            passes(case, json.dumps(value))


def _loaded(data: bytes) -> Any:
    with contextlib.suppress(ValueError, RecursionError):
        return json.loads(data)
    return None


def _config(data: bytes) -> None:
    config, problems = parse_config(data, "machine.yaml", [kind.section for kind in sink_kinds()])
    _one_line(*problems)
    if config is not None:
        traits_of(config)
        settings_of(config)


def _sealed(data: bytes) -> None:
    unseal(data)


def _record(read: Callable[[dict[str, Any]], object]) -> Callable[[bytes], None]:
    """The seal is right and the content is not: what another version may have written."""

    def run(data: bytes) -> None:
        document = _loaded(data)
        if isinstance(document, dict):
            read(document)

    return run


def _catalog(data: bytes) -> None:
    path = Path(_folder(), INDEX)
    path.write_bytes(data)
    read_index(str(path.parent))


_made: list[tempfile.TemporaryDirectory[str]] = []


def _folder() -> str:
    """On a memory disk where there is one: nothing here is about disks."""
    if not _made:
        shared = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        _made.append(tempfile.TemporaryDirectory(prefix="reconciler-fuzz-", dir=shared))
        atexit.register(_made[0].cleanup)
    return _made[0].name


def _marker(data: bytes) -> None:
    marker_from_json(_loaded(data))


def _sample(name: str) -> bytes:
    """A record as the previous version wrote it."""
    document = unseal((RECORDS / f"{name}.json").read_bytes())
    return _json({key: held for key, held in document.items() if key != "formatVersion"})


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


_HEADER = {"a.weight": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}, "__metadata__": {"format": "pt"}}
_LOCK = {
    "formatVersion": 1,
    "sources": [
        {
            "repo": "a/b",
            "revision": "0" * 40,
            "include": ["*.json"],
            "files": [{"path": "config.json", "size": 5, "sha256": "1" * 64}],
        }
    ],
}
_CONFIG = b"""apiVersion: reconciler.foundry/v1alpha1
kind: MachineConfig
name: edge-7
labels: {site: lab}
root: /var/lib/reconciler
repository: {url: 'https://example.com/a/b', branch: main, tokenFile: /etc/token}
notify: {url: 'https://example.com/hook?token=x', secretFile: /etc/secret}
interval: 60s
limits: {diskQuota: 20GiB, diskReserve: 1.5TB}
"""
_REQUESTS = [
    b"GET /metrics HTTP/1.1\r\nHost: localhost:9464\r\n\r\n",
    b"POST /hooks/git HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nX-Hub-Signature-256: sha256=00\r\n\r\nhello",
    b"POST /hooks/git HTTP/1.0\r\nTransfer-Encoding: chunked\r\nX-Gitlab-Token: x\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
]
_CATALOG = {
    "catalog_name": "local",
    "version": 2,
    "models": [{"model_path": "/a", "model_info": {"id": "a:1", "stringProperties": {"x": "y"}}}],
}
_GENAI = {
    "model": {"bos_token_id": 1, "context_length": 2048, "decoder": {"filename": "model.onnx", "head_size": 64}},
    "search": {"top_k": 50},
}
_SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "number", "minimum": 1}, "b": {"enum": ["x", None]}},
    "required": ["a"],
    "additionalProperties": False,
    "items": {"type": "string", "maxLength": 3},
}
_PACKED = manifest_bytes(
    f"sha256:{'0' * 64}", {}, (StoredFile(path="model.onnx", digest=f"sha256:{'1' * 64}", size=5),), b"{}"
)
_OFFERED = manifest_bytes(
    of_value({"a": 1}), {"a": 1}, (StoredFile(path="model.onnx", digest=f"sha256:{'1' * 64}", size=5),), b"{}"
)
_SOURCE = SourceModel(path="", config={"model_type": "x"}, shapes={"a": (1, 2)}, digest=of_value([]))


def _facts(data: bytes) -> None:
    """Whoever writes them seals them too."""
    try:
        document = json.loads(data)
        sealed = seal(document)
    except (ValueError, RecursionError):
        return
    read_model_facts(sealed)


def _archived(data: bytes) -> None:
    """As its index, as the manifests in it, or as what is attached to an artifact."""
    files = {**good(), "index.json": data} if b'"subject"' not in data and b'"manifests"' in data else {}
    files = files or (good(signature=data) if b'"subject"' in data else good(declared=data))
    pairs = zip(entries(files), files.values(), strict=True)
    written = b"".join(one.header + held + b"\0" * (-one.size % 512) for one, held in pairs)
    archive.read_contents(io.BytesIO(written + oci_tar.END), "x.tar")


def _card(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "README.md").write_bytes(data)
        read_card(folder)


_MODEL_SIGNED = {
    "_type": model_signature.STATEMENT,
    "subject": [
        {"name": "m", "digest": {"sha256": "66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925"}}
    ],
    "predicateType": model_signature.PREDICATE,
    "predicate": {
        "serialization": {"method": "files", "hash_type": "sha256", "ignore_paths": ["model.sig"]},
        "resources": [{"name": "a/b.json", "algorithm": "sha256", "digest": "0" * 64}],
    },
}
_STATED = provenance.written(
    provenance.Build(
        artifact=f"sha256:{'2' * 64}",
        repository="registry.example.com/models",
        build_key=of_value({"a": 1}),
        recipe={"a": 1},
        manifests=provenance.Manifests(revision="main@sha1:" + "3" * 40),
        builder="urn:x:y",
        version="0",
        started="",
        finished="",
    )
)
_CASES = b"""{"prompt": "2+2?", "regex": "^4"}
{"messages": [{"role": "user", "content": "hi"}], "contains": "h"}
{"prompt": "x", "jsonSchema": {"type": "object"}}
"""
_TREE = b"".join(mode + b" " + name + b"\0" + b"\1" * 20 for mode, name in ((b"40000", b"d"), (b"100644", b"a.yaml")))

_COUNTER = Renderer(tokenizers=True)  # one child for all executions
atexit.register(_COUNTER.close)

TARGETS = {
    "loader": Target(run=_load, seeds=[GOOD.encode(), *_corpus("yaml", "values", "names")], share=3),
    "manifest": Target(run=_manifest, seeds=[GOOD.encode(), *_corpus("values", "names", "paths")], share=2),
    "template": Target(run=_lint, seeds=_corpus("templates"), share=3),
    "safetensors": Target(
        run=_safetensors,
        seeds=[len(_json(_HEADER)).to_bytes(8, "little") + _json(_HEADER) + b"\0" * 8],
        refusals=(InputRefused,),
        share=3,
    ),
    "safetensors header": Target(run=_header, seeds=[_json(_HEADER)], refusals=(InputRefused,), share=3),
    "audio_processor_config.json": Target(
        run=_audio_processor, seeds=[_json({"feature_extraction": {"sequence": HEARD_BY}})], refusals=(InputRefused,)
    ),
    "recording": Target(run=_recorded, seeds=[head_of() + bytes(8), head_of(extended=True) + bytes(8)], share=3),
    "lock file": Target(run=lock_file.read, seeds=[_json(_LOCK)], refusals=(lock_file.LockInvalid,), share=2),
    "inventory": Target(
        run=lambda data: read_inventory(data, "a.json"),
        seeds=[_json(inventory_view(inventory(World())))],
        refusals=(InventoryInvalid,),
        share=2,
    ),
    "machine configuration": Target(run=_config, seeds=[_CONFIG], share=2),
    "artifact of a registry": Target(
        run=lambda data: artifact.read(f"sha256:{'2' * 64}", data), seeds=[_OFFERED], refusals=(NotAnArtifact,), share=3
    ),
    "model signature": Target(
        run=model_signature.read, seeds=[_json(_MODEL_SIGNED)], refusals=(model_signature.NotAModelSignature,), share=2
    ),
    "model card": Target(run=_card, seeds=[b"---\nlicense: mit\ndatasets: [a/b]\n---\n# Model\n"]),
    "archive": Target(
        run=lambda data: archive.read_contents(io.BytesIO(data), "x.tar"),
        seeds=[packed(good()).getvalue()],
        refusals=(oci_tar.ArchiveRefused,),
    ),
    "documents of an archive": Target(
        run=_archived,
        seeds=[good()["index.json"], archive.files_manifest("r", "m", DECLARED), attached_to(manifest())],
        refusals=(oci_tar.ArchiveRefused,),
    ),
    "facts of a source": Target(run=_facts, seeds=[_json(unseal(model_facts(_SOURCE)))], share=2),
    "signed bundle": Target(
        run=bundle.read,
        seeds=[(Path(__file__).parents[1] / "registry" / "from_sigstore_js" / "bundle.json").read_bytes()],
        refusals=(bundle.NotABundle,),
        share=2,
    ),
    "provenance": Target(
        run=lambda data: provenance.read(data, f"sha256:{'2' * 64}", of_value({"a": 1})),
        seeds=[_STATED],
        refusals=(provenance.NotThisBuild,),
        share=2,
    ),
    "request": Target(run=_request, seeds=_REQUESTS, refusals=(BadRequest,), share=6),
    "git cat-file": Target(run=_batch, seeds=[b"1" * 40 + b" blob 5\nhello\n"], refusals=(MirrorBroken,)),
    "git tree": Target(run=_tree, seeds=[_TREE], refusals=(PermanentError,), share=4),
    "addresses": Target(
        run=_address,
        seeds=[b"https://example.com/a/b.git", b"ssh://git@h:22/x", b"git@h:x/y", b"main", b"[::1]:80"],
        share=4,
    ),
    "pattern of a gate": Target(
        run=_pattern, seeds=[b"^4\\d{0,3}$", b"(?i)yes|no", b"(a|b){1,4}.*c", b"a*[b-d]?e"], share=2
    ),
    "golden prompts": Target(run=_golden_file, seeds=[_CASES], share=1),
    "schema of a gate": Target(run=_schema, seeds=[_json(_SCHEMA)], share=2),
    "sealed record": Target(run=_sealed, seeds=[seal({"a": [1, 2]})], refusals=(Damaged,), share=3),
    **{
        f"record of {name}": Target(run=_record(form.read), seeds=[_sample(name)], refusals=(Misformed,))
        for name, form in FORMS.items()
    },
    "event": Target(run=events.parse, seeds=[_json({"time": "2026-11-22T00:00:00Z", "type": "x", "variant": "a"})]),
    "release.json": Target(run=_marker, seeds=[_json(marker_to_json(MARKER))], refusals=(MarkerUnreadable,)),
    "catalog": Target(run=_catalog, seeds=[_json(_CATALOG)], refusals=(CatalogBroken,)),
    "artifact": Target(run=lambda data: parse_manifest("sha256:0", data), seeds=[_PACKED], refusals=(NotAnArtifact,)),
    "genai_config.json": Target(
        run=lambda data: genai_config(data, Generation()), seeds=[_json(_GENAI)], refusals=(PermanentError,)
    ),
    "config.json": Target(
        run=_record(complaints), seeds=[_json({"architectures": ["Qwen2ForCausalLM"], "hidden_size": 64})]
    ),
    "tokenizer.json": Target(
        run=lambda data: _COUNTER.count("hello you", data),
        seeds=[
            _json({"model": {"type": "BPE", "vocab": {"h": 0, "e": 1, "he": 2}, "merges": ["h e"]}, "added_tokens": []})
        ],
    ),
}
