"""What lost records are completed from."""

import pytest

from reconciler.domain.digest import StoredFile
from reconciler.domain.observed import Registration
from reconciler.domain.recorded import Recorded, RecordedRelease, completed
from reconciler.domain.release import Marker

US, THEM = "a" * 32, "b" * 32


def marker(number: int, *, variant: str = "capitals-int4", owner: str = US) -> Marker:
    return Marker(
        owner=owner,
        variant=variant,
        number=number,
        release=f"sha256:{number}",
        parts={"recipe": "sha256:r"},
        artifact="sha256:a",
        build_key="sha256:b",
        recipe={"precision": "int4"},
        model="capitals",
        precision="int4",
        template_origin="preset chatml",
        generation={},
        protected=True,
        revision="main@sha1:0",
        created=f"2026-01-0{number}T00:00:00Z",
        files=(StoredFile(path="a", digest="sha256:1", size=10), StoredFile(path="b", digest="sha256:2", size=5)),
    )


def registration(name: str, owner: str = US) -> Registration:
    return Registration(id=name, path="/served", properties={"reconciler_owner": owner})


@pytest.mark.parametrize(
    ("case", "markers", "registrations", "current", "high_water"),
    [
        ("nothing is served", [], [], None, 0),
        ("one folder, registered", [marker(1)], ["capitals-int4:1"], 1, 1),
        ("one folder, not registered yet", [marker(1)], [], 1, 1),
        ("the registered one is current, not the newer candidate", [marker(1), marker(2)], ["capitals-int4:1"], 1, 2),
        ("the highest registered one", [marker(2), marker(1)], ["capitals-int4:1", "capitals-int4:2"], 2, 2),
        ("the highest folder when none is registered", [marker(1), marker(3), marker(2)], [], 3, 3),
        ("a registration without a folder still counts as a given number", [], ["capitals-int4:7"], None, 7),
        ("a folder of another root is not ours", [marker(4, owner=THEM)], [], None, 0),
    ],
)
def test_the_current_release_is_found_again(
    case: str, markers: list[Marker], registrations: list[str], current: int | None, high_water: int
) -> None:
    found = completed(Recorded(), owner=US, markers=markers, registrations=[registration(one) for one in registrations])
    release = found.releases.get("capitals-int4")
    assert (release.number if release else None) == current
    assert found.high_water.get("capitals-int4", 0) == high_water


def test_a_number_that_somebody_else_has_registered_is_never_given() -> None:
    found = completed(Recorded(), owner=US, markers=[], registrations=[registration("capitals-int4:9", THEM)])
    assert found.high_water == {"capitals-int4": 9}
    assert found.releases == {}


def test_a_registration_of_somebody_else_does_not_make_a_folder_current() -> None:
    found = completed(
        Recorded(), owner=US, markers=[marker(1), marker(2)], registrations=[registration("capitals-int4:1", THEM)]
    )
    assert found.releases["capitals-int4"].number == 2


def test_without_an_owner_mark_nothing_is_ours() -> None:
    assert completed(Recorded(), owner="", markers=[marker(1, owner="")], registrations=[]) == Recorded()


def test_what_is_recorded_is_kept() -> None:
    remembered = RecordedRelease.from_marker(marker(5), registered="2026-02-02T00:00:00Z")
    before = Recorded(releases={"capitals-int4": remembered}, high_water={"capitals-int4": 8})
    after = completed(before, owner=US, markers=[marker(6)], registrations=[registration("capitals-int4:6")])
    assert after == before


def test_a_rebuilt_release_says_all_that_its_marker_says() -> None:
    found = completed(Recorded(), owner=US, markers=[marker(1)], registrations=[])
    release = found.releases["capitals-int4"]
    assert release.id == "capitals-int4:1"
    assert (release.size, release.protected, release.registered) == (15, True, "2026-01-01T00:00:00Z")
    assert release == RecordedRelease.from_marker(marker(1), registered=release.registered)
