"""In a served folder one file holds the template, and Foundry Local obeys it, whatever else the model came with."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.backends.foundry.folder import assemble
from reconciler.backends.foundry.foundry import Foundry
from reconciler.domain.digest import StoredFile, of_bytes
from reconciler.domain.manifest import Fixture, Roles
from reconciler.domain.plain_data import as_dict
from reconciler.domain.release import Artifact, Release
from reconciler.host.stamps import StampBook
from reconciler.sources.folder.model import inspect_source
from reconciler.templates.chat_template import jinja_of
from reconciler.templates.renderer import Renderer
from tests.converted_model import converted_model, release_of
from tests.tiny_models import write_qwen2

CONVERSATIONS = ((("user", "Hi"),), (("user", "Hi"), ("assistant", "Hello"), ("user", "And again?")))
ROLES = Roles(
    user="<|im_start|>user\n{Content}<|im_end|>\n",
    assistant="{Content}<|im_end|>\n",
    prompt="<|im_start|>user\nroles {Content}<|im_end|>\n<|im_start|>assistant\n",
)


def marked(word: str) -> str:
    """A template whose prompts are as long as no other's."""
    turn = "{{- m.role + ': ' + m.content + '\\n' -}}"
    return f"{{{{- '{word}' -}}}}{{%- for m in messages -%}}{turn}{{%- endfor -%}}"


OF_THE_TOKENIZER = marked("of the tokenizer ")
JINJA = marked("as it was declared, ")
CARRIERS = {  # what a model's own files may bring along: each would give another prompt
    "chat_template.jinja": marked("a chat template of the artifact, "),
    "chat_template.json": json.dumps({"chat_template": marked("json ")}),
    "additional_chat_templates/tool.jinja": marked("for tools alone, quite a lot of it, "),
    "inference_model.json": json.dumps({"PromptTemplate": {"prompt": "of an older Foundry {Content}"}}),
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A converted model with every carrier of a template that there is."""
    converted, folder = converted_model(tmp_path_factory), tmp_path_factory.mktemp("carriers") / "model"
    shutil.copytree(converted, folder)
    for name, text in CARRIERS.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    settings = json.loads((converted / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"chat_template": OF_THE_TOKENIZER}))
    return folder


@pytest.fixture(scope="module")
def foundry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Foundry]:
    folder = tmp_path_factory.mktemp("one-template")
    with Foundry(str(folder / "cache"), scratch=str(folder / "scratch"), log=str(folder / "log")) as one:
        yield one


def served(model: Path, release: Release, folder: Path) -> Path:
    folder.mkdir(parents=True)
    files = {str(path.relative_to(model)): path for path in model.rglob("*") if path.is_file()}
    stored = {
        name: StoredFile(path=name, digest=of_bytes(path.read_bytes()), size=path.stat().st_size)
        for name, path in files.items()
    }
    blobs = {one.digest: str(files[name]) for name, one in stored.items()}
    artifact = Artifact(digest=of_bytes(b"a"), build_key=release.recipe.build_key, files=tuple(stored.values()))
    assemble(
        str(folder),
        release,
        artifact,
        blobs.__getitem__,
        StampBook.empty(),
        owner="me",
        number=1,
        revision="",
        created="2026-11-22T16:00:00Z",
        protected=False,
    )
    return folder


def templates_in(folder: Path) -> dict[str, Any]:
    """By file, and field, everything that any runtime or library takes for a template."""
    found: dict[str, Any] = {
        str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*template*") if path.is_file()
    }
    for name in ("tokenizer_config.json", "genai_config.json", "inference_model.json"):
        pairs = _pairs(json.loads((folder / name).read_text()))
        found |= {
            f"{name}:{key}": held
            for key, held in pairs
            if "template" in key.lower() and held and key != "template_origin"
        }
    return found


def _pairs(document: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(document, dict):
        yield from document.items()
    for inner in document.values() if isinstance(document, dict) else ():
        yield from _pairs(inner)


def counted(foundry: Foundry, folder: Path, name: str) -> list[int]:
    """The tokens of each conversation in the deployed runtime."""
    foundry.register(str(folder), name, {})
    try:
        return [foundry.count(name, messages) for messages in CONVERSATIONS]
    finally:
        foundry.unregister(name)


def expected(template: str, folder: Path) -> list[int]:
    tokenizer = (folder / "tokenizer.json").read_bytes()
    with Renderer(tokenizers=True) as renderer:
        fixtures = [Fixture(messages=messages, rendered="") for messages in CONVERSATIONS]
        tokens = [renderer.count(renderer.render_fixture(template, one), tokenizer) for one in fixtures]
    assert None not in tokens
    return [one for one in tokens if one is not None]


def own_template(folder: Path, **carriers: Any) -> str:
    """What a model brings itself, as its folder is read; `carriers` are its files."""
    source = write_qwen2(folder)
    for path in source.glob("chat_template*"):
        path.unlink()
    settings = json.loads((source / "tokenizer_config.json").read_text())
    settings.pop("chat_template", None)
    if "tokenizer_config" in carriers:
        settings["chat_template"] = carriers["tokenizer_config"]
    (source / "tokenizer_config.json").write_text(json.dumps(settings))
    if "jinja" in carriers:
        (source / "chat_template.jinja").write_text(carriers["jinja"])
    found = inspect_source(str(source), StampBook.empty()).chat_template
    assert found is not None
    return found


FORMS: dict[str, tuple[dict[str, Any], str, Roles | None]] = {
    "roles": ({}, jinja_of(ROLES), ROLES),
    "jinja": ({}, JINJA, None),
    "its own file": ({"jinja": marked("own ")}, marked("own "), None),
    "its own, in the tokenizer's settings": ({"tokenizer_config": marked("mine ")}, marked("mine "), None),
    "both: the file, as Hugging Face does": (
        {"jinja": marked("the file decides "), "tokenizer_config": marked("not I ")},
        marked("the file decides "),
        None,
    ),
    "several: the one called default": (
        {
            "tokenizer_config": [
                {"name": "tool_use", "template": marked("for tools ")},
                {"name": "default", "template": marked("by default ")},
            ]
        },
        marked("by default "),
        None,
    ),
}


@pytest.mark.parametrize(("carriers", "template", "roles"), FORMS.values(), ids=FORMS)
def test_one_copy_counts_and_the_runtime_obeys_it(
    foundry: Foundry, model: Path, tmp_path: Path, carriers: dict[str, Any], template: str, roles: Roles | None
) -> None:
    if carriers:
        assert own_template(tmp_path / "source", **carriers) == template
    written = {name: text for name, text in as_dict(roles).items() if text} if roles else None
    folder = served(model, release_of(template, written), tmp_path / "served")
    projection = {"inference_model.json:PromptTemplate": written} if written else {}
    assert templates_in(folder) == {"chat_template.jinja": template, **projection}
    assert counted(foundry, folder, "tiny:1") == expected(template, folder)


def test_the_other_files_change_nothing_and_this_one_does(foundry: Foundry, model: Path, tmp_path: Path) -> None:
    """If this fails the runtime has begun to read another file, and there are two copies that count."""
    written = {name: text for name, text in as_dict(ROLES).items() if text}
    folder = served(model, release_of(jinja_of(ROLES), written), tmp_path / "served")
    before = counted(foundry, folder, "tiny:1")
    path = folder / "inference_model.json"
    document = json.loads(path.read_text())
    document["PromptTemplate"] = {"prompt": "something else and much longer than before {Content}"}
    rewrite(path, json.dumps(document))
    assert counted(foundry, folder, "tiny:2") == before
    rewrite(folder / "chat_template.jinja", JINJA)
    assert counted(foundry, folder, "tiny:3") == expected(JINJA, folder) != before


def rewrite(path: Path, text: str) -> None:
    path.unlink()  # a served file may share its bytes with the store
    path.write_text(text)


def test_what_the_artifact_brought_would_have_won(foundry: Foundry, model: Path) -> None:
    """Served as it came, the tokenizer's own template decides: why a served folder has none."""
    assert counted(foundry, model, "tiny:4") == expected(OF_THE_TOKENIZER, model)
