"""Three rings of 40 simulated machines, each with the real gate and planner: a good candidate reaches all, a bad one
stops in the first ring; silence, clocks, a forged report and an absence of 90 days change nothing of that."""

import pytest

from reconciler.engine.rollouts import ring_reports
from reconciler.machine_reports.place import refusal_mark
from tests.fleet.rollout_world import DAY, HOUR, MINUTE, VARIANT, Fleet, Machine, candidate
from tests.planner.world import desired

SMALL = """\
apiVersion: reconciler.foundry/v1alpha1
kind: Rollout
metadata: {name: edge}
spec:
  rings:
    - {name: canary, share: 0.2, soak: 24h}
    - {name: early, share: 0.3, soak: 24h%s}
    - {name: broad}
"""
COUNT = 40


def fleet(text: str = SMALL % "") -> Fleet:
    one = Fleet(COUNT, text)
    one.run(2 * DAY)
    return one


def test_a_good_candidate_reaches_ring_after_ring() -> None:
    world = fleet()
    rings = [{one.name for one in world.ring(number)} for number in (1, 2, 3)]
    assert all(len(ring) > 4 for ring in rings)
    new = world.commit(candidate(1))
    world.run(HOUR)
    assert world.serving(new) == rings[0]
    world.run(22 * HOUR)
    assert world.serving(new) == rings[0]
    world.run(4 * HOUR)
    assert world.serving(new) == rings[0] | rings[1]
    world.run(32 * HOUR)
    assert world.serving(new) == set(world.machines)


def test_a_bad_candidate_stops_in_the_first_ring_and_stays_known() -> None:
    world = fleet()
    first = [one.name for one in world.ring(1)]
    new = world.commit(candidate(1), bad=lambda name: name == first[0])
    world.run(2 * DAY)
    assert world.serving(new) == set(first[1:])
    held = [one.held for one in world.ring(2)]
    assert {one and one.reason for one in held} == {"RolloutFailed"}
    assert held[0] is not None
    assert f"stopped in ring canary: {first[0]} refused it: rejected: fidelity 0.31" in held[0].message
    assert {one.held and one.held.reason for one in world.ring(3)} == {"AwaitingRing"}
    # Its digest is remembered: whoever refused it may be gone, and the next candidate goes its own way.
    for name in first[:1]:
        del world.reports.held[name]
    world.commit(candidate(1), bad=lambda _: False)
    world.run(1 * DAY)
    assert world.serving(new) == set(first[1:])
    better = world.commit(candidate(2))
    world.run(4 * DAY)
    assert world.serving(better) == set(world.machines)


def test_in_a_ring_that_is_too_large_to_be_read_one_refusal_stops_everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each reads two of eight canaries, and all find the one that refuses. A false mark costs a look, and stops
    nobody, as long as those who are marked can be read."""
    monkeypatch.setattr(ring_reports, "MOST_READ", 2)
    world = fleet()
    first = [one.name for one in world.ring(1)]
    assert len(first) > 5
    good = candidate(1)
    world.reports.marks.update(refusal_mark(good.digest, name) for name in first[:2])
    new = world.commit(good)
    world.run(4 * DAY)
    assert world.serving(new) == set(world.machines)
    bad = world.commit(candidate(2), bad=lambda name: name == first[-1])
    world.run(3 * DAY)
    assert world.serving(bad) == set(first[:-1])
    held = {one.held.message for one in world.ring(2) if one.held is not None}
    assert len(held) == 1
    assert f"stopped in ring canary: {first[-1]} refused it" in held.pop()


def test_silent_machines_hold_a_ring_up_until_a_person_promotes() -> None:
    world = fleet()
    canaries = world.ring(1)
    silent = canaries[: len(canaries) // 5]
    for one in silent:
        one.online = False
    new = world.commit(candidate(1))
    world.run(5 * DAY)
    assert world.serving(new) == {one.name for one in canaries} - {one.name for one in silent}
    held = world.ring(2)[0].held
    assert held is not None
    assert f"nothing new for 48h from {silent[0].name}" in held.message
    world.write(SMALL % "" + f"  promoted: [{{release: '{new}', ring: early}}]\n")
    world.pull()
    world.run(HOUR)
    assert world.serving(new) >= {one.name for one in world.ring(2)}
    world.run(3 * DAY)
    assert len(world.serving(new)) == COUNT - len(silent)


def test_a_clock_off_by_a_day_opens_nothing() -> None:
    """In the one canary, in the reader, and after the candidate came."""
    lone = SMALL.replace("share: 0.2", "machines: [edge-00000]")
    world = fleet(lone % "")
    canary, reader = world.ring(1)[0], world.ring(2)[0]
    new = world.commit(candidate(1))
    world.run(HOUR)
    canary.ahead = reader.ahead = DAY
    canary.report()
    reader.step()
    world.run(22 * HOUR)
    assert world.serving(new) == {canary.name}
    world.run(10 * HOUR)
    assert world.serving(new) >= {one.name for one in world.ring(2)}


def test_all_clocks_of_a_ring_set_forward_open_nothing_for_who_was_there() -> None:
    world = fleet()
    new = world.commit(candidate(1))
    world.run(HOUR)
    for one in world.ring(1):
        one.ahead = DAY
        one.report()
    world.run(20 * HOUR)
    assert world.serving(new) == {one.name for one in world.ring(1)}


def test_a_forged_report_counts_for_nothing() -> None:
    """Of all canaries but a few: what is forged shows nothing, so the ring never shows enough."""
    world = fleet()
    canaries = [one.name for one in world.ring(1)]
    world.reports.forged = set(canaries[2:])
    new = world.commit(candidate(1))
    world.run(5 * DAY)
    assert world.serving(new) == set(canaries)
    held = world.ring(2)[0].held
    assert held is not None
    assert "not counted: " in held.message
    assert "(Forged: it is signed by another key)" in held.message


def away(world: Fleet) -> Machine:
    machine = world.ring(3)[0]
    machine.online = False
    return machine


def test_a_machine_that_was_away_for_90_days_takes_what_has_soaked_at_once() -> None:
    world = fleet()
    machine = away(world)
    world.commit(candidate(1))
    world.run(45 * DAY)
    latest = candidate(2)
    new = world.commit(latest)
    world.run(45 * DAY)
    assert machine.name not in world.serving(new)
    world.back(machine, desired(latest))
    world.run(30 * MINUTE)
    assert machine.serves == new


def test_and_does_not_take_what_is_new_or_bad() -> None:
    world = fleet()
    machine = away(world)
    world.run(88 * DAY)
    latest = candidate(1)
    first = world.ring(1)[0].name
    new = world.commit(latest, bad=lambda name: name == first)
    world.run(2 * DAY)
    world.back(machine, desired(latest))
    world.run(5 * DAY)
    assert machine.serves != new
    assert machine.held is not None
    assert machine.held.variant == VARIANT
