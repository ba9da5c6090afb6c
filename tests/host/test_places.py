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


WHEEL = Path("/dist/foundry_reconciler-0.1.0-py3-none-any.whl").absolute()
FOLDER = Path("/src/a b").absolute()


@pytest.mark.parametrize(
    ("origin", "command"),
    [
        (None, 'pip install "foundry-reconciler[all]"'),
        ({"url": FOLDER.as_uri(), "dir_info": {"editable": True}}, f'pip install -e "{FOLDER}[all]"'),
        ({"url": FOLDER.as_uri(), "dir_info": {}}, f'pip install "{FOLDER}[all]"'),
        ({"url": WHEEL.as_uri(), "archive_info": {}}, f'pip install "{WHEEL}[all]"'),
        (
            {"url": "https://example.com/a.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}},
            'pip install "foundry-reconciler[all] @ git+https://example.com/a.git"',
        ),
        ({"url": "https://example.com/a.whl"}, 'pip install "foundry-reconciler[all] @ https://example.com/a.whl"'),
    ],
)
def test_an_extra_is_installed_from_where_the_program_came(
    monkeypatch: pytest.MonkeyPatch, origin: object, command: str
) -> None:
    monkeypatch.setattr(places, "distribution", lambda _: Installed(origin))
    assert places.install_command("all") == command


def test_without_what_pip_wrote_down_it_is_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> metadata.Distribution:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(places, "distribution", absent)
    assert places.install_command("hub") == 'pip install "foundry-reconciler[hub]"'
