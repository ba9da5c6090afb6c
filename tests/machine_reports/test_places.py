"""What every place of reports has to do for us: a real folder, a real git server, Debian's registry and the one of the
tests. One contract for all."""

import os
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from reconciler.domain.errors import PermanentError, ReconcilerError, TemporaryError, UsageError
from reconciler.domain.machine_report import ReportSettings
from reconciler.machine_reports import place
from reconciler.machine_reports.folder import ReportFolder
from reconciler.machine_reports.git_branch import ReportBranch
from reconciler.machine_reports.keys import entry_name
from reconciler.machine_reports.oci_tags import ReportTags
from reconciler.machine_reports.place import LONGEST_SIGNATURE, ReportPlace, Sent, refusal_mark
from reconciler.machine_reports.select import open_place
from tests.machine_reports.documents import machine, signed
from tests.registry.places import client_of
from tests.registry_server import FakeRegistry, debian_registry

KINDS = ("folder", "git", "fake registry", "docker-registry")
Opener = Callable[[str], ReportPlace]


@pytest.fixture(scope="module")
def origins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with FakeRegistry().running() as fake, debian_registry(tmp_path_factory.mktemp("registry")) as debian:
        yield {"fake registry": fake.origin, "docker-registry": debian}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def where(kind: str, origins: dict[str, str], tmp_path: Path, request: pytest.FixtureRequest) -> str:
    if kind == "folder":
        return str(tmp_path / "reports")
    if kind == "git":
        subprocess.run(["git", "init", "-q", "--bare", str(tmp_path / "fleet.git")], check=True)
        return f"file://{tmp_path}/fleet.git#machines"
    name = "".join(letter for letter in request.node.name.lower() if letter.isalnum())
    return f"oci+{origins[kind]}/fleet/{name}"


@pytest.fixture
def opened(where: str, tmp_path: Path) -> Iterator[Opener]:
    places: list[ReportPlace] = []

    def open_as(writer: str) -> ReportPlace:
        """A writer has a folder of its own; "" is a reader."""
        folder = tmp_path / f"writer-{writer}" if writer else None
        if folder:
            folder.mkdir(exist_ok=True)
        places.append(open_place(ReportSettings(to=where, allow_file=True), folder=str(folder or "")))
        return places[-1]

    yield open_as
    for one in places:
        one.close()


def _all(opened: Opener) -> dict[str, Sent]:
    return {one.entry: one for one in opened("").each()}


def _sent(name: str, tmp_path: Path, **changes: object) -> Sent:
    data, signature = signed(machine(name, **changes), tmp_path)
    return Sent(entry=name, data=data, signature=signature)


def test_what_was_put_last_is_found_whole(opened: Opener, tmp_path: Path) -> None:
    first, second, other = _sent("edge-7", tmp_path), _sent("edge-7", tmp_path, counter=9), _sent("edge-8", tmp_path)
    writer = opened("7")
    writer.put(first)
    assert _all(opened) == {"edge-7": first}
    opened("8").put(other)
    writer.put(second)
    assert _all(opened) == {"edge-7": second, "edge-8": other}
    assert second != first
    assert list(opened("").some(["edge-8", "edge-9"])) == [other]


def test_one_listing_finds_who_refuses_what(kind: str, opened: Opener, tmp_path: Path) -> None:
    """Whatever machines are called; and no mark is taken for a report. Removing one takes no other away."""
    writer, report = opened("7"), _sent("edge-7", tmp_path)
    names = ("edge-7", "edge.json", entry_name("Strange " * 30))
    mine = [refusal_mark("sha256:" + letter * 64, name) for letter in "ab" for name in names]
    writer.put(report)
    assert set(opened("").marks()) == set()
    writer.mark(mine)
    writer.mark(mine)
    opened("8").mark([refusal_mark("sha256:" + "a" * 64, "edge-8")])
    assert set(opened("").marks()) == {*mine, "refused-aaaaaaaaaaaa-edge-8"}
    writer.unmark([*mine[:1], "refused-cccccccccccc-nobody"])
    gone = set() if kind == "fake registry" else {mine[0]}  # it removes nothing, as many do
    assert set(opened("").marks()) == {*mine, "refused-aaaaaaaaaaaa-edge-8"} - gone
    assert _all(opened) == {"edge-7": report}


def test_a_place_of_more_names_than_are_read_is_an_error(
    opened: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a place without refusals."""
    writer = opened("7")
    writer.put(_sent("edge-7", tmp_path))
    writer.mark([refusal_mark("sha256:" + letter * 64, "edge-7") for letter in "abc"])
    monkeypatch.setattr(place, "MOST_ENTRIES", 2)
    with pytest.raises(TemporaryError, match="more than 2 names"):
        opened("").marks()


def test_a_report_without_a_signature_takes_the_old_one_away(opened: Opener, tmp_path: Path) -> None:
    opened("7").put(_sent("edge-7", tmp_path))
    bare = Sent(entry="edge-7", data=_sent("edge-7", tmp_path, counter=8).data)
    opened("7").put(bare)
    assert _all(opened) == {"edge-7": bare}


def test_many_machines_at_once(opened: Opener, tmp_path: Path) -> None:
    """In git each push has to be made again on top of the others'."""
    sent = [_sent(f"edge-{number}", tmp_path) for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda one: opened(one.entry).put(one), sent))
    assert list(_all(opened).values()) == sent


def test_what_is_not_a_report_is_left_alone_and_harms_no_other(
    kind: str, where: str, opened: Opener, tmp_path: Path
) -> None:
    good = _sent("edge-7", tmp_path)
    opened("7").put(good)
    _add_strangers(kind, where, tmp_path)
    found = _all(opened)
    assert found.pop("edge-7") == good
    assert sorted(found) == ["edge-8", "edge-9"]
    assert all(one.why and not one.data for one in found.values())
    opened("7").put(_sent("edge-7", tmp_path, counter=9))
    assert sorted(_all(opened)) == ["edge-7", "edge-8", "edge-9"]


def _add_strangers(kind: str, where: str, tmp_path: Path) -> None:
    """Two entries that cannot be read, and files of others."""
    if kind == "folder":
        _spoil(Path(where))
    elif kind == "git":
        clone = tmp_path / "clone"
        url, _, branch = where.partition("#")
        subprocess.run(["git", "clone", "-q", "-b", branch, url, str(clone)], check=True)
        _spoil(clone)
        author = ("-c", "user.name=x", "-c", "user.email=x@localhost")
        subprocess.run(["git", "-C", str(clone), "add", "-A"], check=True)
        subprocess.run(["git", "-C", str(clone), *author, "commit", "-qm", "more"], check=True)
        subprocess.run(["git", "-C", str(clone), "push", "-q"], check=True)
    else:
        origin, _, repository = where.removeprefix("oci+").partition("/fleet/")
        client = client_of(origin, repository=f"fleet/{repository}")
        mine = client.manifest(client.resolve("inventory-edge-7") or "")
        client.put_manifest(mine.replace(b"report.v1", b"report.v9"), "inventory-edge-8")
        client.put_manifest(mine.replace(b'"data":"eyJm', b'"data":"eyJn'), "inventory-edge-9")
        client.put_manifest(mine, "build-1")
        client.session.close()


def _spoil(folder: Path) -> None:
    os.symlink("edge-7.json", folder / "edge-8.json")
    (folder / "edge-9.json").write_bytes(b"{}")
    (folder / "edge-9.json.sigstore.json").write_bytes(b" " * (LONGEST_SIGNATURE + 1))
    (folder / "README.md").write_text("ours\n")


@pytest.mark.parametrize("kind", ["git"])
def test_a_copy_of_a_branch_that_rots_is_made_anew(opened: Opener, tmp_path: Path) -> None:
    report, writer = _sent("edge-7", tmp_path), opened("7")
    writer.put(report)
    assert list(writer.each()) == [report]
    (held,) = tmp_path.glob("writer-7/**/objects")
    git = ["git", "--git-dir", str(held.parent), "rev-parse", "refs/reconciler/reports:edge-7.json"]
    name = subprocess.run(git, check=True, capture_output=True, text=True, timeout=60).stdout.strip()
    for path in (held / "pack").iterdir():  # what was put lies beside them too
        path.unlink()
    (held / name[:2] / name[2:]).chmod(0o644)
    (held / name[:2] / name[2:]).write_bytes(bytes(100))
    with pytest.raises(TemporaryError, match=r"cannot be read: the object .* is missing"):
        list(writer.each())
    assert list(writer.each()) == [report]


@pytest.mark.parametrize("page", [1, 2, 100])
def test_tags_come_page_by_page(page: int, origins: dict[str, str], tmp_path: Path) -> None:
    for name, origin in origins.items():
        repository = f"fleet/pages{page}"
        place = open_place(ReportSettings(to=f"oci+{origin}/{repository}"), folder=str(tmp_path))
        client = client_of(origin, repository=repository)
        assert list(client.tags(page=page)) == []
        for machine_name in ("a", "b", "c"):
            place.put(_sent(machine_name, tmp_path))
        assert sorted(client.tags(page=page)) == ["inventory-a", "inventory-b", "inventory-c"], name
        client.session.close()
        place.close()


@pytest.mark.parametrize(
    "where", ["missing/reports", "file:///nowhere/fleet.git", "oci+http://127.0.0.1:9/fleet/reports"]
)
def test_a_place_that_is_not_there_is_one_clear_error(where: str, tmp_path: Path) -> None:
    where = str(tmp_path / where) if "://" not in where else where
    place = open_place(ReportSettings(to=where, allow_file=True), folder=str(tmp_path))
    if isinstance(place, ReportTags):
        place._client.session.tries = 1
    for ask in (lambda: place.put(_sent("edge-7", tmp_path)), lambda: list(place.each())):
        with pytest.raises(ReconcilerError) as caught:
            ask()
        assert len(str(caught.value)) < 400
        assert isinstance(caught.value, TemporaryError)
    place.close()


@pytest.mark.parametrize(
    ("where", "kind"),
    [
        ("reports", ReportFolder),
        ("oci://ghcr.io/acme/fleet", ReportTags),
        ("https://host/group/fleet.git#machines", ReportBranch),
        ("ssh://git@host/group/fleet.git", ReportBranch),
    ],
)
def test_a_place_is_known_by_its_form(where: str, kind: type) -> None:
    place = open_place(ReportSettings(to=where))
    assert isinstance(place, kind)
    place.close()


@pytest.mark.parametrize(
    "where", ["", "ftp://host/x", "oci://HOST", "oci+http://host/x", "file:///x", "https://a:b@c/d"]
)
def test_what_is_no_place_is_refused(where: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_place(ReportSettings(to=where))
    assert ":b@" not in str(caught.value)


@pytest.mark.parametrize("held", [None, b"", b" \n", b"two\nlines", "é\x07".encode(), b"\xff"])
def test_a_file_without_a_token_is_named_and_its_content_is_not(tmp_path: Path, held: bytes | None) -> None:
    file = tmp_path / "token"
    if held is not None:
        file.write_bytes(held)
    with pytest.raises(PermanentError) as told:
        open_place(ReportSettings(to="https://git.example/fleet.git", token_file=str(file)))
    assert (told.value.code, str(told.value)) == ("ReportsToken", f"{file} holds no token")
    file.write_bytes(b"secret\n")
    open_place(ReportSettings(to="https://git.example/fleet.git", token_file=str(file))).close()
