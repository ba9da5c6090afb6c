"""Addresses, passwords and proxies."""

import base64
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.domain.errors import RegistryFailed, TemporaryError
from reconciler.domain.machine.registries import RegistryAddress, RegistrySettings, read_address
from reconciler.host.reading import NotTrusted
from reconciler.registry.client import RegistryClient
from reconciler.registry.credentials import Login, logins_of
from reconciler.registry.opening import open_registry
from tests import canaries
from tests.registry.places import REPOSITORY, client_of
from tests.registry_server import PASSWORD, USER, FakeRegistry, basic

ADDRESS = RegistryAddress(origin="https://registry.example.com", repository="models")
MIRROR = RegistryAddress(origin="https://site.example.com:5000", repository="models")
READABLE = RegistryAddress(origin="http://plain.example.com", repository="models")


@pytest.mark.parametrize(
    ("text", "origin", "repository"),
    [
        ("https://ghcr.io/acme/models", "https://ghcr.io", "acme/models"),
        ("https://r.example.com:8443/a/b_c/d-e.f", "https://r.example.com:8443", "a/b_c/d-e.f"),
        ("http://127.0.0.1:5000/models", "http://127.0.0.1:5000", "models"),
        ("http://[::1]:5000/models", "http://[::1]:5000", "models"),
    ],
)
def test_an_address_is_read(text: str, origin: str, repository: str) -> None:
    assert read_address(text) == RegistryAddress(origin=origin, repository=repository)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "ghcr.io/acme/models",
            "https://ghcr.io",
            "https://ghcr.io/",
            "oci://ghcr.io/acme",
            "https://ghcr.io/Acme",
        ),
        *("https://user:password@ghcr.io/acme", "https://ghcr.io/a/../b", "https://ghcr.io/a//b", "https://ghcr.io/a/"),
        *("https://ghcr.io/a?b=c", "https://ghcr.io/a:tag", "https://ghcr.io/a\n", f"https://ghcr.io/{'a' * 600}"),
    ],
)
def test_what_is_no_address_is_not_read(text: str) -> None:
    assert read_address(text) is None


@pytest.mark.parametrize(
    ("origin", "private"),
    [
        *(("https://a.example", True), ("http://localhost:5000", True), ("http://127.0.0.2", True)),
        *(("http://[::1]:5", True), ("http://a.example", False), ("http://127.0.0.1.example.com", False)),
    ],
)
def test_where_others_can_read_what_is_sent(origin: str, private: bool) -> None:
    assert RegistryAddress(origin=origin, repository="models").is_private == private


def settings(path: Path | str = "", variable: str = "") -> RegistrySettings:
    mirrors = (MIRROR, READABLE)
    return RegistrySettings(address=ADDRESS, mirrors=mirrors, credentials_file=str(path), credentials_variable=variable)


def docker_file(**hosts: str) -> str:
    auths = {host: {"auth": base64.b64encode(text.encode()).decode()} for host, text in hosts.items()}
    return json.dumps({"auths": {**auths, "kept.example.com": {}}})


def test_one_line_is_for_the_registry_alone(tmp_path: Path) -> None:
    (tmp_path / "line").write_text("fleet:pass:word\n")
    expected = {"registry.example.com": Login("fleet", "pass:word")}
    assert logins_of(settings(tmp_path / "line")) == expected
    assert logins_of(settings(variable="REGISTRY"), {"REGISTRY": "fleet:pass:word"}) == expected
    assert logins_of(settings()) == {}


def test_the_form_of_docker_knows_mirrors_and_sends_nothing_in_the_open(tmp_path: Path) -> None:
    hosts = {"https://registry.example.com/v1/": "a:b", "site.example.com:5000": "c:d"}
    strangers = {"plain.example.com": "e:f", "other.example.com": "g:h"}
    (tmp_path / "config.json").write_text(docker_file(**hosts, **strangers))
    expected = {"registry.example.com": Login("a", "b"), "site.example.com:5000": Login("c", "d")}
    assert logins_of(settings(tmp_path / "config.json")) == expected


def test_a_file_of_no_registry_says_by_host_whose_its_passwords_are(tmp_path: Path) -> None:
    """A manifest names the host: one line would go to whatever host that is."""
    given = replace(settings(tmp_path / "file"), of_many=True)
    for text in ("fleet:password", "", "word"):
        (tmp_path / "file").write_text(text)
        with pytest.raises(RegistryFailed, match="does not say which host its password is for") as refused:
            logins_of(given)
        assert refused.value.code == "RegistryCredentials"
        assert "user:password" not in refused.value.hint
        assert "password" not in str(refused.value).replace("its password", "")
    (tmp_path / "file").write_text(docker_file(**{"registry.example.com": "a:b", "other.example.com": "c:d"}))
    assert logins_of(given) == {"registry.example.com": Login("a", "b")}


@pytest.mark.parametrize(
    "text", ["", "word", ":x", "a:", "a:b\nc:d", "{", '{"auths": []}', '{"auths": {"h": {"auth": "?"}}}']
)
def test_what_is_no_password_is_not_shown(tmp_path: Path, text: str) -> None:
    (tmp_path / "line").write_text(text)
    with pytest.raises(TemporaryError) as refused:
        logins_of(settings(tmp_path / "line"))
    assert str(refused.value) == f"{tmp_path / 'line'} holds no password"
    assert refused.value.code == "RegistryCredentials"


def test_a_file_that_others_can_write_is_not_trusted(tmp_path: Path) -> None:
    (tmp_path / "line").write_text("a:b")
    (tmp_path / "line").chmod(0o666)
    with pytest.raises(NotTrusted):
        logins_of(settings(tmp_path / "line"))
    with pytest.raises(TemporaryError, match="No such file"):
        logins_of(settings(tmp_path / "missing"))


def test_a_password_shows_nowhere(tmp_path: Path) -> None:
    assert canaries.secret("shown") not in repr(Login("fleet", canaries.secret("shown")))


def test_a_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """It sees the whole address of a request over plain HTTP, and its own password."""
    digest = "sha256:" + "0" * 64
    with FakeRegistry().running() as proxy:
        monkeypatch.setenv("http_proxy", proxy.origin.replace("://", "://me:there@"))
        client = client_of("http://registry.example.com")
        assert not client.has_blob(digest)
        assert proxy.requests[0].path == f"http://registry.example.com/v2/{REPOSITORY}/blobs/{digest}"
        client.session.close()
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        near: RegistryClient = client_of(proxy.origin)
        assert not near.has_blob(digest)
        assert proxy.requests[1].path == f"/v2/{REPOSITORY}/blobs/{digest}"
        near.session.close()


def test_a_bad_file_of_certificates_is_named(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    for path in (tmp_path / "ca.pem", tmp_path / "missing.pem"):
        client = client_of("https://127.0.0.1:1", ca_file=path)
        with pytest.raises(TemporaryError, match=os.fspath(path)) as refused:
            client.has_blob("sha256:" + "0" * 64)
        assert refused.value.code == "RegistryCertificates"


def test_a_configured_registry_is_opened_with_its_mirrors_and_its_account() -> None:
    """One line is the registry's password, and its mirrors on other hosts get none."""
    with FakeRegistry("basic").running() as own, FakeRegistry("basic").running() as mirror:
        addresses = [read_address(f"{one.origin}/{REPOSITORY}") for one in (own, mirror)]
        address, other = (one for one in addresses if one)
        given = RegistrySettings(address=address, mirrors=(other,), credentials_variable="LOGIN")
        with open_registry(given, environment={"LOGIN": f"{USER}:{PASSWORD}"}) as opened:
            assert opened.places == (*opened.mirrors, opened.registry)
            assert opened.registry.resolve("v1") is None
            with pytest.raises(RegistryFailed) as denied:
                opened.mirrors[0].has_blob("sha256:" + "0" * 64)
        assert (denied.value.code, str(other) in str(denied.value)) == ("RegistryDenied", True)
        assert {one.authorization for one in mirror.requests} == {""}
        assert own.requests[-1].authorization == basic()
