"""What the runtime says, as it is shown: foreign text, also from the chat templates that it ran."""

import os
from pathlib import Path
from typing import Any

import pytest

from reconciler.backends.foundry.foundry import Foundry
from reconciler.backends.foundry.problems import LONGEST_SHOWN, translate
from reconciler.domain.errors import PermanentError


@pytest.mark.parametrize(
    "message",
    [
        "x\n::stop-commands::token at row 1, column 57:\nthe template",
        "x\r::error::\x1b[2J",
        "failed to load model" + "y" * 100_000,
        "\u2028::warning::",
        "(" * 100_000,
    ],
)
@pytest.mark.parametrize("kind", ["Exception", "ImportError"])
def test_every_complaint_is_one_short_line(kind: str, message: str) -> None:
    shown = str(translate(kind, message))
    assert len(shown.splitlines()) == 1
    assert len(shown) <= LONGEST_SHOWN
    assert not shown.startswith("::")
    assert "\x1b" not in shown


def test_signatures_and_template_text_are_left_out() -> None:
    message = "session.cc:12 void Session::Run(int, char) const unknown filter at row 1, column 57:\n{{ a | b }}"
    error = translate("Exception", message)
    assert str(error) == "unknown filter at row 1, column 57"
    assert error.code == "TemplateRefused"


@pytest.mark.parametrize(
    ("message", "hint"),
    [
        ("No module named 'foundry_local_sdk'", "pip install"),
        ("DLL load failed while importing _cffi_bindings: The specified module could not be found.", "VCRedist"),
        ("libatomic.so.1: cannot open shared object file: No such file or directory", "libatomic1"),
    ],
)
def test_what_is_missing_is_named(message: str, hint: str) -> None:
    """A package, or a library of the system that the package is made for."""
    error = translate("ImportError", message)
    assert (error.code, hint in error.hint) == ("RuntimeMissing", True)


class HoldingOn(Foundry):
    """One whose file cannot go, as on Windows while the runtime has it open; here because a link stands there."""

    def _model_call(self, verb: str, parameters: dict[str, Any], timeout: float, *_: Any) -> dict[str, Any]:
        if verb == "transcribe":
            folder = os.path.dirname(parameters["path"])
            os.rename(folder, f"{folder}-held")
            os.symlink(f"{folder}-held", folder)
            raise PermanentError("what the model says")
        return {"seconds": 0.0}


def test_a_recording_that_cannot_go_hides_nothing(tmp_path: Path) -> None:
    runtime = HoldingOn(str(tmp_path), scratch=str(tmp_path), log=os.devnull)
    with pytest.raises(PermanentError, match="what the model says"):
        runtime.transcribe("x:1", b"", "en")
