"""What Olive is given is what the recipe names, before the conversion and after it."""

import json
import os
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest

from reconciler.conversion.worker import staging
from reconciler.conversion.worker.staging import Staged, check_unchanged, stage_source
from reconciler.domain.errors import ConversionFailed
from reconciler.host.stamps import StampBook, stamp_of
from reconciler.sources.folder.model import inspect_source
from tests.tiny_models import write_qwen2


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = write_qwen2(tmp_path / "model")
    time.sleep(0.02)  # longer than a tick of the file system's clock
    return folder


def stage(source: Path) -> Staged:
    digest = inspect_source(str(source), StampBook.empty()).digest
    return stage_source(str(source), str(source.parent / "staged"), digest, {})


def flip_a_byte(path: Path) -> None:
    with open(path, "r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)[0]
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last ^ 1]))


def flip_and_restore_the_time(path: Path) -> None:
    status = path.stat()
    flip_a_byte(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def flip_there_and_back(path: Path) -> None:
    flip_a_byte(path)
    flip_a_byte(path)


def replace(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    os.replace(other, path)


CHANGES: list[Callable[[Path], None]] = [
    flip_a_byte,
    flip_and_restore_the_time,
    flip_there_and_back,
    replace,
    Path.unlink,
    lambda path: os.truncate(path, 0),
]


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_source_that_changes_during_the_conversion_is_noticed(
    source: Path, change: Callable[[Path], None], name: str
) -> None:
    staged = stage(source)
    check_unchanged(staged)
    change(source / name)
    with pytest.raises(ConversionFailed, match="the source changed while it was read") as failure:
        check_unchanged(staged)
    assert failure.value.code == "SourceChanged"
    assert name in str(failure.value)


def test_a_link_that_somebody_makes_meanwhile_is_no_change(source: Path) -> None:
    staged = stage(source)
    os.link(source / "model.safetensors", source.parent / "backup")
    (source / "README.md").write_text("new")
    check_unchanged(staged)


def test_what_the_recipe_does_not_name_is_not_converted(source: Path) -> None:
    with pytest.raises(ConversionFailed, match="has changed since the plan") as failure:
        stage_source(str(source), str(source.parent / "staged"), "sha256:" + "0" * 64, {})
    assert failure.value.code == "SourceChanged"


@pytest.mark.parametrize("change", [flip_a_byte, flip_and_restore_the_time, replace])
def test_what_was_read_for_the_plan_is_read_again_only_where_its_stamp_changed(
    source: Path, change: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    book = StampBook.empty()
    digest = inspect_source(str(source), book).digest
    look = {path: path.stat() for path in source.iterdir()}
    known = {stamp_of(status): book.digest(str(path)) for path, status in look.items()}
    hashed: list[str] = []
    usual = staging._digest
    monkeypatch.setattr(staging, "_digest", lambda path: hashed.append(os.path.basename(path)) or usual(path))
    check_unchanged(stage_source(str(source), str(source.parent / "staged"), digest, known))
    assert hashed == []
    change(source / "model.safetensors")
    refused = (
        nullcontext() if change is replace else pytest.raises(ConversionFailed, match="has changed since the plan")
    )
    with refused:
        stage_source(str(source), str(source.parent / "staged again"), digest, known)
    assert hashed == ["model.safetensors"]


def test_a_whole_multiplier_is_staged_as_a_float(source: Path) -> None:
    """Granite: the builder writes an attribute of the type that it finds, and the graph takes a float alone."""
    config = json.loads((source / "config.json").read_text()) | {"attention_multiplier": 1}
    (source / "config.json").write_text(written := json.dumps(config))
    stage(source)
    assert '"attention_multiplier": 1.0' in (source.parent / "staged" / "config.json").read_text()
    assert (source / "config.json").read_text() == written


def test_a_whole_number_is_a_float_where_the_graph_takes_no_other(source: Path) -> None:
    whole = ("attention_multiplier", "logits_scaling", "final_logit_softcapping", "rms_norm_eps", "layer_norm_epsilon")
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps(config | dict.fromkeys(whole, 1)))
    stage(source)
    staged = json.loads((source.parent / "staged" / "config.json").read_text())
    assert [type(staged[name]) for name in whole] == [float] * len(whole)
    assert {name: staged[name] for name in config if name not in whole} == {
        name: held for name, held in config.items() if name not in whole
    }
    assert type(staged["vocab_size"]) is int
