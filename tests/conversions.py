"""Real conversions for tests: one warm converter a test run, and a child that loads what came out.

The fixtures are those of tests/conversion; imported by name, they would be others.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.conversion.client.converter import Converter
from reconciler.conversion.toolchain import tools_for
from reconciler.domain.manifest import Quantization, Target
from reconciler.domain.plain_data import as_dict
from reconciler.domain.release import Recipe
from reconciler.domain.sources.source_model import SourceModel
from reconciler.domain.targets.execution_providers import DEFAULT_PROVIDER, ExecutionProvider, honoured_options
from reconciler.host.child import Child
from reconciler.host.environment import private_environment
from reconciler.host.stamps import StampBook
from reconciler.sources.folder.model import inspect_source
from tests import forked


@pytest.fixture(scope="session")
def converter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Converter]:
    root = tmp_path_factory.mktemp("converter")
    shown = (str(tmp_path_factory.getbasetemp()),)  # else each new source would need a worker of its own
    with Converter(str(root / "scratch"), str(root / "logs"), jobs=2, shown=shown) as one:
        with forked.with_olive():
            one.start("int8", "fp16")
        yield one


@pytest.fixture(scope="session")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Child]:
    """Calls: `answer` (load and generate), `compare` (logits against transformers)."""
    home = tmp_path_factory.mktemp("reader")
    environment = private_environment(str(home))
    log = str(home / "log")
    module = "tests.host.reading_worker"
    with forked.with_olive():
        child = Child(module=module, environment=environment, log=log, directory=str(home))
    with child:
        yield child


def look(folder: str | Path) -> SourceModel:
    source = inspect_source(str(folder), StampBook.empty())
    assert source.problems == ()
    return source


def recipe_of(
    source: SourceModel,
    precision: str,
    *,
    adapter: str | None = None,
    provider: ExecutionProvider = DEFAULT_PROVIDER,
    **quantization: Any,
) -> Recipe:
    settings = as_dict(Quantization(**quantization))
    used = honoured_options(precision, settings["algorithm"], provider)
    return Recipe(
        source=source.digest,
        adapter=adapter,
        architecture=source.architecture,
        precision=precision,
        options={name: value for name, value in settings.items() if name in used and value is not None},
        target=Target(device=provider.device, execution_provider=provider.name),
        tools=tools_for(adapter),
    )


def convert(converter: Converter, folder: str | Path, output: Path, precision: str, **quantization: Any) -> Path:
    converter.convert(recipe_of(look(folder), precision, **quantization), str(folder), str(output), timeout=300)
    return output
