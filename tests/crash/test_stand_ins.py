"""The stand-ins leave what the real ones leave, as far as anybody here looks at it."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reconciler.backends.foundry.foundry import Foundry
from reconciler.backends.foundry.index import INDEX, read_index
from reconciler.domain.errors import PermanentError
from tests.crash.stand_ins import make_runtime, tree_of
from tests.extras import needs

OURS = {"reconciler_owner": "me", "reconciler_release": "sha256:1"}


def told(make: Callable[[str, str, str], Foundry], folder: Path, model: str) -> list[Any]:
    """What one and the same story leaves in the index, step by step."""
    cache, story = folder / "cache", list[Any]()
    with make(str(cache), str(folder / "scratch"), str(folder / "log")) as foundry:
        steps: list[Callable[[], None]] = [
            lambda: foundry.register(model, "tiny-int4:1", OURS),
            lambda: foundry.register(model, "tiny-int4:1", {}),
            lambda: foundry.register(model, "tiny-int4:2", OURS),
            lambda: foundry.register(str(folder / "nowhere"), "tiny-int4:3", OURS),
            lambda: foundry.unregister("tiny-int4:1"),
            lambda: foundry.unregister("tiny-int4:1"),
        ]
        for step in steps:
            try:
                step()
                said = ""
            except PermanentError as error:
                said = error.code
            found = read_index(str(cache))
            story.append((said, [(one.id, one.path, one.owner, one.properties["reconciler_release"]) for one in found]))
    assert sorted(os.listdir(cache / INDEX) if (cache / INDEX).is_dir() else [INDEX]) == [INDEX]
    return story


@pytest.mark.slow
def test_the_runtime_that_stands_in_tells_the_story_of_the_real_one(tmp_path: Path) -> None:
    needs("foundry_local_sdk", "foundry")
    model = tmp_path / "model"
    model.mkdir()
    for name, data in tree_of("sha256:0").items():
        (model / name).write_bytes(data)

    def real(cache: str, scratch: str, log: str) -> Foundry:
        return Foundry(cache, scratch=scratch, log=log)

    stories = [told(make, tmp_path / name, str(model)) for name, make in (("real", real), ("other", make_runtime))]
    assert stories[0] == stories[1]
    assert [said for said, _ in stories[0]] == ["", "AlreadyRegistered", "", "ServedFolderMissing", "", ""]
    for name in ("real", "other"):
        entry = json.loads((tmp_path / name / "cache" / INDEX).read_bytes())["models"][0]
        assert entry["model_info"]["id"] == "tiny-int4:2"
