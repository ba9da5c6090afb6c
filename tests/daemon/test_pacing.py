"""How long the loop waits."""

import pytest

from reconciler.daemon.wake import WakeThrottle, jittered
from reconciler.domain.backoff import of_passes


@pytest.mark.parametrize(
    ("interval", "waits"),
    [
        (60.0, [60.0, 120.0, 240.0, 300.0, 300.0]),
        (1.0, [1.0, 2.0, 4.0, 8.0, 8.0]),
        (3600.0, [60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 3600.0, 3600.0]),
    ],
)
def test_back_off_begins_soon_and_ends_somewhere(interval: float, waits: list[float]) -> None:
    assert [of_passes(interval).after(failures) for failures in range(1, len(waits) + 1)] == waits
    assert of_passes(interval).after(10_000) == waits[-1]


def test_jitter_is_a_tenth_either_way() -> None:
    assert [jittered(60.0, lambda drawn=drawn: drawn) for drawn in (0.0, 0.5, 1.0)] == [54.0, 60.0, 66.0]


def test_files_that_never_rest_wake_less_and_less() -> None:
    throttle, pauses = WakeThrottle(10.0), []
    for _ in range(12):
        pauses.append(throttle.pause)
        throttle.woken({"machine"}, 0.5)
    assert pauses == [0, 0, 0, 0, 0, 1, 2, 4, 8, 10, 10, 10]
    throttle.woken({"machine", "interval"}, 0.5)
    assert throttle.pause == 10.0


@pytest.mark.parametrize(("reasons", "rested"), [({"machine"}, 6.0), ({"interval"}, 0.1), ({"sighup"}, 0.1)])
def test_calm_and_other_wakes_end_it(reasons: set[str], rested: float) -> None:
    throttle = WakeThrottle(10.0)
    for _ in range(9):
        throttle.woken({"declarations"}, 0.5)
    assert throttle.pause == 10.0
    throttle.woken(reasons, rested)
    assert throttle.pause == 0.0
