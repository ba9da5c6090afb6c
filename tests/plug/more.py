"""What the crash matrix leaves out, and a power cut may hit as well."""

from reconciler.engine.machine import locked_machine
from reconciler.operations.rollback import ask_for, decide
from tests.crash import scenarios
from tests.crash.scenarios import SCENARIOS, Scenario, World, overwrite


def _rotten_blob(world: World) -> None:
    """What is served beside it is whole: it is mended from there."""
    scenarios._served(world)
    overwrite(world.blob("tokenizer.json"), b"[]")


def _rolled_back(world: World) -> None:
    """Said, and not carried out yet; the predecessor is still there."""
    scenarios._nothing_served(world)
    world.declare("one", more="  retainFor: 1h\n")
    world.applied()
    world.declare("one", template="phi3", more="  retainFor: 1h\n")
    world.applied()
    with locked_machine(str(world.root), str(world.cache), command="rollback", suspends=True) as machine:
        ask_for(machine, decide(machine, "one-int4", 0, "it answers badly"))


ALL: dict[str, Scenario] = {
    **SCENARIOS,
    "mend-blob": Scenario(prepare=_rotten_blob, act=scenarios._apply, damaged=True),
    "roll-back": Scenario(prepare=_rolled_back, act=scenarios._apply),
}
