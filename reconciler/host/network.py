"""What a network may need to be reached at all, of an environment: proxies, and the certificates of a company."""

from collections.abc import Mapping

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
_TRUST = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_NETWORK = (*_PROXIES, *(name.lower() for name in _PROXIES), *_TRUST)


def network_of(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that are set."""
    return {name: environment[name] for name in _NETWORK if environment.get(name)}
