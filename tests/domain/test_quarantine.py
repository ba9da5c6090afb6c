"""How long a thing stays in quarantine, whatever the clock does."""

import pytest

from reconciler.domain.quarantine import LONGEST_STEP, OFTEN, Ages, aged, is_ours, left

DAY, LIVES = 86_400.0, 7 * 86_400.0
CAME = 1_795_000_000.0
NAME = f"{int(CAME)}000000000"


def after(*steps: float, begun: float = CAME) -> tuple[Ages, float]:
    """The ages when looks are taken, each so many seconds of the wall clock after the one before."""
    now, ages = begun, Ages()
    ages = aged(ages, [NAME], now)
    for step in steps:
        now += step
        ages = aged(ages, [NAME], now)
    return ages, now


CASES: dict[str, tuple[tuple[float, ...], float]] = {
    "it has just come": ((), LIVES),
    "a look each hour for six days": ((3600.0,) * 144, DAY),
    "a look each hour for seven days": ((3600.0,) * 168, 0.0),
    "the clock leaps ten years ahead: one day is lost": ((3650 * DAY,), LIVES - LONGEST_STEP),
    "and its time goes on from there": ((3650 * DAY, *(3600.0,) * 144), 0.0),
    "the clock leaps ten years back: nothing is added": ((-3650 * DAY,), LIVES),
    "back, and its time goes on": ((-3650 * DAY, *(3600.0,) * 24), LIVES - DAY),
    "a machine that is on once a week needs seven weeks": ((7 * DAY,) * 6, DAY),
    "it was off for a month, and looked at once": ((30 * DAY,), LIVES - DAY),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_left_of_its_time(case: str) -> None:
    steps, stays = CASES[case]
    ages, now = after(*steps)
    assert left(NAME, ages, now, LIVES) == stays


def test_a_clock_that_swings_by_a_day_deletes_a_day_early_at_most() -> None:
    swings = (DAY, -DAY) * 40
    ages, now = after(*swings)
    assert ages.seconds[NAME] > LIVES  # what was added up alone would let it go
    assert left(NAME, ages, now, LIVES) == LIVES
    assert left(NAME, ages, now + 6 * DAY, LIVES) == DAY


def test_what_came_in_the_future_goes_by_its_age_alone() -> None:
    """The clock was wrong when it came, and was then set right."""
    ages, now = after(*(3600.0,) * 168, begun=CAME - 3650 * DAY)
    assert left(NAME, ages, now, LIVES) == 0.0


def test_an_idle_machine_writes_nothing_each_minute() -> None:
    ages, now = after()
    assert aged(ages, [NAME], now + OFTEN - 1) is ages
    assert aged(ages, [NAME], now + OFTEN) is not ages
    empty = Ages()
    assert aged(empty, [], now) is empty


def test_what_is_gone_is_forgotten_and_what_is_new_begins_at_nothing() -> None:
    ages, now = after(*(3600.0,) * 10)
    other = str(int(NAME) + 5)
    assert aged(ages, [other], now + 60).seconds == {other: 0.0}


@pytest.mark.parametrize(
    ("name", "ours"),
    [(NAME, True), ("1", False), ("mine", False), (NAME + ".bak", False), ("٣" * 17, False), (f"-{NAME}", False)],
)
def test_only_our_own_names_age(name: str, ours: bool) -> None:
    assert is_ours(name) is ours
