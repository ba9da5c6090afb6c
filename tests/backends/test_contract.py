"""What the rest of the package relies on, of every back end. Each is the real program."""

from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.backends.foundry_cache.cache_backend import FoundryLocalCache
from reconciler.backends.protocol import Backend, ServingRuntime
from reconciler.backends.select import BACKENDS, backend_at
from reconciler.domain.errors import Cancelled, PermanentError
from reconciler.domain.machine.backends import BackendSettings
from reconciler.domain.observed import TASK, own_properties
from reconciler.domain.targets.tasks import EMBEDDINGS, SPEECH
from reconciler.gates.embeddings import cosine
from reconciler.host.stamps import StampBook
from tests.backends.test_serving_folder import CONTENT, artifact, blobs_of
from tests.converted_model import converted_model, release_of
from tests.foundry_1 import foundry_1

EXAMPLES = Path(__file__).parents[2] / "examples"
ONE = FoundryLocalCache.name
OURS = own_properties(owner="me", release="sha256:0", build_key="sha256:1", model="tiny")


WITH_SDK, TOGETHER = "foundry-local-1 with its sdk", "both"


@pytest.fixture(params=[*BACKENDS, WITH_SDK, TOGETHER])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    catalog = str(tmp_path / "catalog")
    if request.param == WITH_SDK:
        return FoundryLocalCache(catalog, foundry_1())
    if request.param == TOGETHER:
        return backend_at(catalog, (BackendSettings(), BackendSettings(name=ONE, catalog=str(tmp_path / "cache"))))
    return BACKENDS[request.param](catalog)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return converted_model(tmp_path_factory)


def runtime(backend: Backend, tmp_path: Path) -> ServingRuntime:
    return backend.runtime(scratch=str(tmp_path / "scratch"), log=str(tmp_path / "log"))


def test_names_are_read_without_starting_it(backend: Backend) -> None:
    assert backend.registrations() == ()


def test_what_is_registered_answers_until_it_is_unregistered(backend: Backend, model: Path, tmp_path: Path) -> None:
    with runtime(backend, tmp_path) as running:
        running.register(str(model), "tiny-int4:1", OURS)
        (one,) = backend.registrations()
        assert (one.id, one.path, one.owner, one.release) == ("tiny-int4:1", str(model), "me", "sha256:0")
        assert (one.build_key, one.model, one.number, one.damage) == ("sha256:1", "tiny", 1, ())
        assert [each.id for each in running.list([*OURS])] == ["tiny-int4:1"]
        assert Path(backend.index).exists()
        pieces: list[str] = []
        answer = running.ask("tiny-int4:1", [("user", "Hi")], 4, temperature=0.0, on_text=pieces.append)
        assert "".join(pieces) == answer.text
        assert answer.completion_tokens >= 1
        assert running.count("tiny-int4:1", [("user", "Hi")]) == answer.prompt_tokens
        peak, versions = running.measure()
        assert peak >= 0
        assert versions
        assert running.process > 0
        running.unregister("tiny-int4:1")
        running.unregister("tiny-int4:1")
    assert backend.registrations() == ()
    assert running.process == 0


@pytest.mark.parametrize("backend", [ONE, WITH_SDK], indirect=True)
def test_models_for_other_tasks_embed_and_hear(backend: Backend, tmp_path: Path) -> None:
    """Those of the examples, which the whole stories of the other back end are about (tests/e2e)."""
    with runtime(backend, tmp_path) as running:
        running.register(str(EXAMPLES / "embeddings" / "model"), "places-fp32:1", {**OURS, TASK: EMBEDDINGS})
        asked, near, far = running.embed("places-fp32:1", ("Slovenia", "Ljubljana", "Paris")).vectors
        assert cosine(asked, near) > 0.7 > cosine(asked, far)
        running.register(str(EXAMPLES / "speech" / "model"), "tones-fp32:1", {**OURS, TASK: SPEECH})
        low = (EXAMPLES / "speech" / "recordings" / "low.wav").read_bytes()
        heard = {language: running.transcribe("tones-fp32:1", low, language).text for language in ("en", "sl")}
        assert {name: text.strip() for name, text in heard.items()} == {
            "en": "This is a low tone.",
            "sl": "To je nizek ton.",
        }


def test_a_name_is_never_given_to_other_content(backend: Backend, model: Path, tmp_path: Path) -> None:
    with runtime(backend, tmp_path) as running:
        running.register(str(model), "tiny-int4:1", OURS)
        with pytest.raises(PermanentError):
            running.register(str(model), "tiny-int4:1", {})
        assert backend.registrations()[0].owner == "me"


def test_a_catalog_beside_it_has_names_of_its_own(backend: Backend, model: Path, tmp_path: Path) -> None:
    beside = backend.at(str(tmp_path / "beside"))
    with runtime(beside, tmp_path) as running:
        running.register(str(model), "tiny-int4:1", {})
    assert [one.id for one in beside.registrations()] == ["tiny-int4:1"]
    assert backend.registrations() == ()


def test_one_that_is_cancelled_does_not_start(backend: Backend, tmp_path: Path) -> None:
    running = backend.runtime(scratch=str(tmp_path / "scratch"), log=str(tmp_path / "log"), is_cancelled=lambda: True)
    with running, pytest.raises(Cancelled):
        running.start()


def test_a_served_folder_is_whole_or_says_what_is_wrong(backend: Backend, tmp_path: Path) -> None:
    stamps = StampBook.load(str(tmp_path / "stamps.json"))
    folder = tmp_path / "served" / "tiny-int4" / "3"
    folder.mkdir(parents=True)
    blobs = blobs_of(tmp_path)
    marker = backend.assemble(
        str(folder),
        release_of(),
        artifact(CONTENT),
        lambda digest: str(blobs / digest),
        stamps,
        owner="me",
        number=3,
        revision="main@sha1:0",
        created="2026-11-22T16:00:00Z",
        protected=False,
    )
    found = backend.inspect(str(folder), stamps)
    assert (found.marker, found.damage) == (marker, ())
    assert backend.release_in(str(folder), marker) == release_of()
    assert backend.release_in(str(folder), replace(marker, release="sha256:0")) is None
    assert backend.context_length(str(folder)) > 0
    (folder / "model.onnx").unlink()
    assert backend.inspect(str(folder), stamps).damage == ("model.onnx missing",)


def test_it_finds_the_catalog_that_it_made(backend: Backend, tmp_path: Path) -> None:
    home = str(tmp_path / "home")
    assert list(backend.catalogs_in(home)) == []
    there = backend.at(backend.catalog_of("shop", home))
    Path(there.index).parent.mkdir(parents=True)
    Path(there.index).touch()
    assert list(backend.catalogs_in(home)) == [there.catalog]


def test_names_of_models_are_its_own_only_where_it_says_why(backend: Backend) -> None:
    assert backend.reserved("capitals") == ""
    assert backend.packages
