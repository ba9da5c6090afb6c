"""A root on a disk that knows neither hard links, nor shared bytes, nor modes, such as vfat and some network shares:
everything is copied, and the rest is as ever."""

import errno
import os
from pathlib import Path

import pytest

from reconciler.host import durable
from tests.crash.stand_ins import SHARED
from tests.engine.test_order import one_pass
from tests.machine import TestMachine


def _refused(*given: object, **more: object) -> None:
    raise OSError(errno.EPERM, os.strerror(errno.EPERM))


def test_without_links_and_modes_files_are_copied(
    tmp_path: Path, capitals: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = TestMachine(folder=tmp_path)
    machine.give_model(capitals)
    monkeypatch.setattr(durable, "ALWAYS_COPIED", SHARED)
    monkeypatch.setattr(os, "link", _refused)
    monkeypatch.setattr(durable, "_reflink", lambda source, destination: False)
    monkeypatch.setattr(os, "chmod", lambda *given, **more: None)
    for number, template in enumerate(("chatml", "phi3"), 1):
        machine.declare(template=template)
        assert one_pass(machine).converged
        assert set(machine.index()) == {f"capitals-int4:{number}"}
    assert (machine.served("capitals-int4") / "model.onnx.data").stat().st_nlink == 1
    assert machine.run("verify").code == 0
