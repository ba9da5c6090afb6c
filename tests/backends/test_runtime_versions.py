"""What another runtime measured counts for nothing; and the installed one is known without being loaded."""

from dataclasses import replace
from importlib.metadata import version

from reconciler.domain.measured import Measured, MeasurementSet
from reconciler.engine.machine import of_this_runtime
from reconciler.host.places import installed_versions
from tests.gates.test_gates import GOOD, LOAD

PACKAGES = ("onnxruntime", "pydantic", "PyYAML")


def test_versions_are_those_that_the_packages_say() -> None:
    assert installed_versions(PACKAGES) == {package: version(package) for package in PACKAGES}
    assert installed_versions(["no-such-package"]) == {}


def test_numbers_hold_for_the_runtime_that_gave_them() -> None:
    here = Measured(release="a", build_key="k", load=replace(LOAD, runtime={"onnxruntime": version("onnxruntime")}))
    there = Measured(release="b", build_key="k", load=replace(LOAD, runtime={"onnxruntime": "0.1"}))
    gone = Measured(release="c", build_key="k", load=replace(LOAD, runtime={"no-such-package": "1"}))
    known = MeasurementSet(fidelity={"k": GOOD}, releases={one.release: one for one in (here, there, gone)})
    found = of_this_runtime(known).known
    assert set(found.releases) == {"a", "c"}  # where it is not installed, nothing can be served, nor judged anew
    assert found.fidelity == {"k": GOOD}
