"""What stands for git while one variant is rolled back."""

from types import SimpleNamespace
from typing import Any

import pytest

from reconciler.domain.recorded import Recorded
from reconciler.domain.targets.tasks import CHAT, EMBEDDINGS
from reconciler.operations.rollback import _declaring
from tests.planner.world import World, desired, release


@pytest.mark.parametrize("task", [CHAT, EMBEDDINGS])
def test_what_serves_is_judged_as_a_model_for_its_task(task: str) -> None:
    made = release(task=task)
    (past,) = World().converge(desired(made)).recorded.history[made.variant]
    machine: Any = SimpleNamespace(records=SimpleNamespace(load=Recorded))
    (wanted,) = _declaring(machine, past).desired.wanted
    assert wanted.gates.task == task
