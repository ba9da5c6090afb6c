"""Where this installation came from, and what adds to it."""

import json
from importlib import metadata
from pathlib import Path

import pytest

from reconciler.host import places


class Installed:
    """A distribution as pip leaves it."""

    def __init__(self, origin: object) -> None:
        self._origin = origin

    def read_text(self, name: str) -> str | None:
        assert name == "direct_url.json"
        return None if self._origin is None else json.dumps(self._origin)


GIT = {"vcs": "git", "commit_id": "abc"}
ADDRESS = "https://example.com/a.git"


@pytest.mark.parametrize(
    ("origin", "wanted"),
    [
        (None, '"foundry-reconciler[all]"'),
        ({"url": "{folder}", "dir_info": {"editable": True}}, '-e "{path}[all]"'),
        ({"url": "{folder}", "dir_info": {}}, '"{path}[all]"'),
        ({"url": "{folder}/gone.whl", "archive_info": {}}, '"foundry-reconciler[all]"'),
        ({"url": ADDRESS, "vcs_info": GIT}, f'"foundry-reconciler[all] @ git+{ADDRESS}@abc"'),
        (
            {"url": "{folder}", "vcs_info": GIT | {"requested_revision": "v1.2"}, "subdirectory": "a"},
            '"foundry-reconciler[all] @ git+{folder}@v1.2#subdirectory=a"',
        ),
        ({"url": "https://example.com/a.whl"}, '"foundry-reconciler[all] @ https://example.com/a.whl"'),
    ],
)
def test_an_extra_is_installed_from_where_the_program_came(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, origin: dict[str, object] | None, wanted: str
) -> None:
    folder = tmp_path / "a b"
    folder.mkdir()

    def filled(text: str) -> str:
        return text.replace("{folder}", folder.as_uri()).replace("{path}", str(folder))

    told = origin and {name: filled(held) if isinstance(held, str) else held for name, held in origin.items()}
    monkeypatch.setattr(places, "distribution", lambda _: Installed(told))
    assert places.install_command("all") == f"pip install {filled(wanted)}"


def test_without_what_pip_wrote_down_it_is_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> metadata.Distribution:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(places, "distribution", absent)
    assert places.install_command("hub") == 'pip install "foundry-reconciler[hub]"'
