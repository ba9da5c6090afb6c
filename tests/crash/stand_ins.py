"""Foundry Local and Olive for tests that make thousands of passes: what they leave on the disk, in the same steps,
without their seconds of imports. Only the child processes are stood in for: what we do around them is the real code,
and `test_stand_ins` holds them against the real ones."""

import json
import os
from collections.abc import Mapping
from typing import Any

from reconciler.backends.foundry.foundry import Foundry, OnEvent
from reconciler.backends.foundry.index import INDEX, read_index
from reconciler.backends.foundry.problems import translate
from reconciler.backends.foundry_cache.cache_runtime import CacheRuntime
from reconciler.conversion.client.converter import Converter
from reconciler.domain.errors import ConversionFailed
from reconciler.domain.measured import TEXTS_DIGEST, ComputedBy, Decoded, Fidelity, Referenced, Tokenized
from reconciler.domain.reference import METHOD as REFERENCE
from reconciler.domain.reference import Comparison, Reference
from reconciler.domain.release import Recipe
from reconciler.engine import planning
from reconciler.engine.options import Options
from reconciler.gates.decoding import METHOD
from reconciler.gates.hard_texts import TEXTS_DIGEST as HARD_TEXTS
from reconciler.host import durable
from tests.at_rest import TREE
from tests.references import reference_of

WEIGHTS = 70_000  # bytes: more than SHARED, so they are linked as 16 MiB are
SHARED = 1 << 16
FAILS = "fails"  # a file of this name in the source's parent makes every conversion fail


class StandInFoundry(Foundry):
    """The parent's side is the real one; the child's verbs are answered here."""

    def start(self) -> None:
        self._make_folders()

    def close(self) -> None:
        pass

    def kill(self) -> None:
        pass

    def _call(
        self, verb: str, parameters: dict[str, Any], timeout: float, on_event: OnEvent = lambda event: None
    ) -> dict[str, Any]:
        self.start()
        answer: dict[str, Any] = getattr(self, f"_{verb}")(parameters)
        return answer

    def _register(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        entries = self._entries()
        identity, path = parameters["id"], parameters["path"]
        if identity in entries:
            raise translate("RuntimeError", f"model_id is already registered: {identity}")
        if not os.path.isfile(os.path.join(path, "genai_config.json")):
            raise translate("RuntimeError", f"model not found at path {path}")
        info = {"id": identity, "stringProperties": parameters["properties"]}
        self._write(entries | {identity: {"model_path": path, "model_info": info}})
        return {}

    def _unregister(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        entries = self._entries()
        if entries.pop(parameters["id"], None) is None:
            raise translate("RuntimeError", f"model not found: {parameters['id']}")
        self._write(entries)
        return {}

    def _load(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        if parameters["id"] not in self._entries():
            raise translate("RuntimeError", f"model not found: {parameters['id']}")
        return {"seconds": 0.0}

    def _unload(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        return {}

    def _ask(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "text": "Paris",
            "prompt_tokens": 5,
            "completion_tokens": 3,
            "first_token_seconds": 0.01,
            "tokens_per_second": 100.0,
            "finish_reason": "length",
        }

    def _measure(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        return {"peak_memory_bytes": 1 << 20, "runtime": {}}

    def compare_tokenizer(self, folder: str) -> Tokenized:
        return Tokenized(texts=HARD_TEXTS, tried=100, differing=0, decomposed=0)

    def providers(self, identity: str, folder: str) -> tuple[ComputedBy, ...]:
        return ()

    def decode(
        self,
        identity: str,
        folder: str,
        boundaries: Mapping[str, int],
        tokens: int = 0,
        reference: Reference | None = None,
    ) -> tuple[Decoded, Referenced]:
        return Decoded(method=METHOD, positions=284, longest=300, median_kl=0.0), Referenced(
            method=REFERENCE, positions=48, median_kl=0.0, source_kl=0.0, built_kl=0.0, agreed=48, built_agreed=48
        )

    def _memory(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        return {"bytes": 1 << 20}

    def _entries(self) -> dict[str, Any]:
        read_index(self.cache_dir)
        try:
            with open(os.path.join(self.cache_dir, INDEX), "rb") as file:
                models = json.load(file)["models"]
        except FileNotFoundError:
            models = []
        return {entry["model_info"]["id"]: entry for entry in models}

    def _write(self, entries: Mapping[str, Any]) -> None:
        """As the real one: a fixed name, a rename, no flush; what the system refuses it, it tells in its own words."""
        try:
            self._rename(entries)
        except OSError as error:
            raise translate("RuntimeError", f"failed to write local model registration index: {error}") from None

    def _rename(self, entries: Mapping[str, Any]) -> None:
        path = os.path.join(self.cache_dir, INDEX)
        data = json.dumps({"catalog_name": "local", "version": 2, "models": [*entries.values()]}).encode()
        durable._step("catalog")  # the real child may be killed there too
        with open(path + ".tmp", "wb") as file:
            file.write(data[: len(data) // 2])
            file.flush()
            durable._step("catalog")
            file.write(data[len(data) // 2 :])
        durable._step("catalog")
        os.rename(path + ".tmp", path)
        durable._step("catalog")


class StandInConverter(Converter):
    """Writes what Olive would have made, or says that it cannot."""

    def __init__(self) -> None:
        super().__init__(os.devnull, os.devnull)  # what is not stood in for shall not write anywhere

    def start(self, *purposes: str, sources: tuple[str, ...] = ()) -> None:
        pass

    def convert(self, recipe: Recipe, source: str, output_dir: str, **more: Any) -> Any:
        if os.path.exists(os.path.join(source, os.pardir, FAILS)):
            raise ConversionFailed("NaN in layer 3")
        os.makedirs(output_dir)
        for name, data in tree_of(recipe.build_key).items():
            durable._step("convert")
            with open(os.path.join(output_dir, name), "wb") as file:
                file.write(data)

    def compare(self, recipe: Recipe, *said: Any, **more: Any) -> Comparison:
        fidelity = Fidelity(
            build_key=recipe.build_key,
            prompts=TEXTS_DIGEST,
            positions=800,
            top1_agreement=0.9,
            mean_kl=0.02,
            perplexity_ratio=1.01,
            wiring_kl=1e-9,
        )
        return Comparison(fidelity=fidelity, reference=reference_of(recipe.build_key))


def tree_of(build_key: str) -> dict[str, bytes]:
    """The same for the same recipe, as of a converter that is deterministic."""
    weights = (build_key.encode() * (1 + WEIGHTS // len(build_key)))[:WEIGHTS]
    return {**TREE, "model.onnx.data": weights}


class StandInCache(CacheRuntime):
    """Names are folders, so all of it is the real one; there is no child that would only measure."""

    def start(self) -> None:
        self._make_folders()


def work_quickly() -> None:
    """In a process that makes many passes: small files are shared as 16 MiB and more are, and no pass asks each process
    of this machine whether it has mapped a served file."""
    durable.ALWAYS_COPIED = SHARED
    replaced: Any = planning
    replaced.mapped_folders = lambda folders: frozenset()


def make_runtime(cache: str, scratch: str, log: str) -> StandInFoundry:
    return StandInFoundry(cache, scratch=scratch, log=log)


def options(**more: Any) -> Options:
    return Options(make_converter=StandInConverter, make_runtime=make_runtime, **more)
