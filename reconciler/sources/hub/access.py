"""How this machine reaches the hub: from its own environment, never from a repository.

The token goes to one child process in its environment, and nowhere else: no argument, no log, no record.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.domain.errors import UsageError
from reconciler.host.environment import private_environment

LONGEST_TOKEN = 4096
HUB = "https://huggingface.co"

# What a network may need to be reached at all: proxies, and the certificates of a company.
_ROAD = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
_TRUST = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_NETWORK = (*_ROAD, *(name.lower() for name in _ROAD), *_TRUST)


@dataclass(frozen=True, kw_only=True)
class HubAccess:
    """`network` are the variables that lead to it. `token` is "" where there is none."""

    endpoint: str = HUB
    token: str = ""
    network: tuple[tuple[str, str], ...] = ()

    def __repr__(self) -> str:
        return "HubAccess(...)"

    @classmethod
    def of(cls, environment: Mapping[str, str], token_file: str = "") -> "HubAccess":
        """From HF_ENDPOINT, HF_TOKEN or the file that RECONCILER_HF_TOKEN_FILE names, and what the network needs."""
        endpoint = environment.get("HF_ENDPOINT", "").strip().rstrip("/") or HUB
        if not endpoint.startswith(("https://", "http://")) or "@" in endpoint or not endpoint.isprintable():
            raise UsageError("HF_ENDPOINT: expected an address such as https://huggingface.co")
        return cls(
            endpoint=endpoint,
            token=_token(environment, token_file or environment.get("RECONCILER_HF_TOKEN_FILE", "")),
            network=tuple((name, environment[name]) for name in _NETWORK if environment.get(name)),
        )

    def child_environment(self, home: str) -> dict[str, str]:
        """All that the fetching process gets. Xet is off: it does not resume, and does not say whether it moves."""
        return private_environment(
            home,
            HF_HUB_OFFLINE="0",
            HF_HOME=home,
            HF_ENDPOINT=self.endpoint,
            HF_HUB_DISABLE_XET="1",
            HF_HUB_DOWNLOAD_TIMEOUT="30",
            **dict(self.network),
            **({"HF_TOKEN": self.token} if self.token else {}),
        )


def _token(environment: Mapping[str, str], path: str) -> str:
    """Never shown, not even when something is wrong with it."""
    if path:
        if not os.path.isfile(path):
            raise UsageError(f"--hf-token-file: there is no file {path}")
        with open(path, encoding="utf-8", errors="replace") as file:
            token = file.read(LONGEST_TOKEN + 1).strip()
    else:
        token = environment.get("HF_TOKEN", "").strip()
    if len(token) > LONGEST_TOKEN or not token.isascii() or not token.isprintable() or (path and not token):
        raise UsageError("expected a hub token: one line of printable characters")
    return token
