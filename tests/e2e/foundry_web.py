"""Foundry Local's own web service on a cache, as another application would run it: none of our code takes part.

    with web_service(cache, "capitals-int4:1") as url:
        chat(url, "capitals-int4:1", [{"role": "user", "content": "Hello"}])

Run as a script in a child process, it loads the models it is given, prints its URL and serves until its input ends.
"""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reconciler.host.environment import private_environment


@contextmanager
def web_service(cache: str | Path, scratch: str | Path, *identities: str) -> Iterator[str]:
    """The base URL of the local catalog (`.../catalogs/local/v1`), with these models loaded."""
    home = Path(scratch)
    home.mkdir(parents=True, exist_ok=True)
    with (
        open(home / "log", "ab") as log,
        subprocess.Popen(
            [sys.executable, __file__, str(cache), str(home), *identities],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env={**private_environment(str(home)), "PYTHONPATH": str(Path(__file__).parents[2])},
            cwd=home,
            text=True,
        ) as service,
    ):
        assert service.stdout is not None
        try:
            line = service.stdout.readline()
            if not line:
                raise RuntimeError(f"the web service did not start: {(home / 'log').read_text()[-2000:]}")
            yield line.strip() + "/catalogs/local/v1"
        finally:
            service.kill()


def chat(url: str, identity: str, messages: list[dict[str, str]], **options: object) -> dict[str, Any]:
    """One request as any OpenAI client sends it. A model is asked for by its full id."""
    body = json.dumps({"model": identity, "messages": messages, **options}).encode()
    request = urllib.request.Request(
        f"{url}/chat/completions", body, {"Content-Type": "application/json"}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        answer: dict[str, Any] = json.load(response)
    return answer


def main(cache: str, scratch: str, identities: list[str]) -> None:
    from foundry_local_sdk import CatalogType, Configuration, FoundryLocalManager, LogLevel

    FoundryLocalManager.initialize(
        Configuration(
            app_name="another-application",
            app_data_dir=f"{scratch}/app",
            logs_dir=f"{scratch}/logs",
            model_cache_dir=cache,
            log_level=LogLevel.ERROR,
            disable_nonessential_telemetry=True,
            web=Configuration.WebService(urls="http://127.0.0.1:0"),
        )
    )
    manager: Any = FoundryLocalManager.instance
    manager.start_web_service()
    catalog = manager.get_catalog(CatalogType.LOCAL)
    for identity in identities:
        catalog.get_model_variant(identity).load()
    print(manager.urls[0], flush=True)
    sys.stdin.read()
    manager.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
