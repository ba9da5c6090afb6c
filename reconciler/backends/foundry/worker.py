"""The child process that holds Foundry Local's SDK. `backends.foundry.foundry` starts it; no module imports it.

The SDK is a process-wide singleton around native code, bound to one cache, whose file lock can block for minutes; so
one process serves one cache. Its parent may kill it at any moment: the index is replaced by rename, and the lock goes
with the process. Only the local catalog is used, because the public one needs the network.
"""

import contextlib
import json
import os
import stat
import time
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

from reconciler.backends.foundry.index import LOCK
from reconciler.backends.foundry.model_worker import VERBS, ModelWorker
from reconciler.backends.foundry.provider_libraries import register_for
from reconciler.backends.worker_side import confine_worker, peak_memory, rate
from reconciler.host.child_side import Emit, Json, serve

CONFINED = "RECONCILER_CONFINED"  # as backends.foundry.foundry, whose imports the child can do without

RUNTIME_PACKAGES = ("foundry-local-sdk", "onnxruntime", "onnxruntime-genai-core")


class FoundryWorker(ModelWorker):
    def open(self, parameters: Json, emit: Emit) -> Json:
        from foundry_local_sdk import CatalogType, Configuration, FoundryLocalManager, LogLevel

        _prepare_catalog(parameters["cache_dir"])
        FoundryLocalManager.initialize(
            Configuration(
                app_name="reconciler",
                app_data_dir=os.path.join(parameters["scratch"], "app"),
                logs_dir=os.path.join(parameters["scratch"], "logs"),
                model_cache_dir=parameters["cache_dir"],
                log_level=LogLevel.ERROR,
                disable_nonessential_telemetry=True,
            )
        )
        self._catalog = FoundryLocalManager.instance.get_catalog(CatalogType.LOCAL)
        return {}

    def load(self, parameters: Json, emit: Emit) -> Json:
        from foundry_local_sdk import FoundryLocalManager

        model = self._catalog.get_model_variant(parameters["id"])
        if model is not None and parameters["id"] not in self._loaded:
            with contextlib.suppress(
                OSError, ValueError, LookupError
            ):  # a folder that is gone or damaged: the load says so
                register_for(model.get_path(), FoundryLocalManager.instance)
        return super().load(parameters, emit)

    def register(self, parameters: Json, emit: Emit) -> Json:
        from foundry_local_sdk import ModelInfoBuilder

        with ModelInfoBuilder() as info:
            info.set_string_property("task", "chat-completion")
            for key, value in parameters["properties"].items():
                info.set_string_property(key, value)
            self._catalog.register_model(parameters["path"], parameters["id"], info)
        return {}

    def unregister(self, parameters: Json, emit: Emit) -> Json:
        self.unload(parameters, emit)
        self._catalog.unregister_model(parameters["id"])
        return {}

    def list(self, parameters: Json, emit: Emit) -> Json:
        """Every version: list_models() alone would name one per alias."""
        models = [model for alias in self._catalog.list_models() for model in alias.variants]
        return {
            "models": [
                {
                    "id": model.id,
                    "path": model.get_path(),
                    "properties": {key: model.info.get_string_property(key) for key in parameters["properties"]},
                }
                for model in models
            ]
        }

    def ask(self, parameters: Json, emit: Emit) -> Json:
        from foundry_local_sdk import RequestOptions, SearchOptions

        with self._question(parameters) as (session, request):
            limit = _within_context(session, request, parameters["max_tokens"])
            search = SearchOptions(max_output_tokens=limit, temperature=parameters["temperature"])
            request.set_options(RequestOptions(search=search))
            return _stream(session, request, emit)

    def embed(self, parameters: Json, emit: Emit) -> Json:
        """As an application asks: through the SDK's session, with the end of a text set by the runtime."""
        from foundry_local_sdk import EmbeddingsSession, Request, TextItem, TextItemType

        question = json.dumps({"model": parameters["id"], "input": parameters["texts"]})
        started = time.perf_counter()
        with EmbeddingsSession(self._loaded[parameters["id"]]) as session, Request() as request:
            request.add_item(TextItem(question, TextItemType.OPENAI_JSON))
            with session.process_request(request) as response:
                found = json.loads(response.get_item(0).text)["data"]
        return {"vectors": [one["embedding"] for one in found], "seconds": time.perf_counter() - started}

    def transcribe(self, parameters: Json, emit: Emit) -> Json:
        """As an application asks: through the SDK's session, with the file named in OpenAI's form."""
        from foundry_local_sdk import AudioSession, Request, TextItem, TextItemType

        identity, language = parameters["id"], parameters["language"]
        question = json.dumps({"model": identity, "filename": parameters["path"], "language": language})
        started = time.perf_counter()
        with AudioSession(self._loaded[identity]) as session, Request() as request:
            request.add_item(TextItem(question, TextItemType.OPENAI_JSON))
            with session.process_request(request) as response:
                text = json.loads(response.get_item(0).text)["text"]
        return {"text": text, "seconds": time.perf_counter() - started}

    def count(self, parameters: Json, emit: Emit) -> Json:
        with self._question(parameters) as (session, request):
            return {"tokens": session.preflight_request(request).prompt_tokens}

    @contextlib.contextmanager
    def _question(self, parameters: Json) -> Iterator[tuple[Any, Any]]:
        """A session with the model, and a request that holds the messages."""
        from foundry_local_sdk import ChatSession, MessageItem, MessageRole, Request

        with ChatSession(self._loaded[parameters["id"]]) as session, Request() as request:
            for role, text in parameters["messages"]:
                request.add_item(MessageItem(MessageRole[role.upper()], text))
            yield session, request

    def measure(self, parameters: Json, emit: Emit) -> Json:
        return {
            "peak_memory_bytes": peak_memory(),
            "runtime": {package: version(package) for package in RUNTIME_PACKAGES},
        }


def _prepare_catalog(cache_dir: str) -> None:
    """Foundry Local opens the lock for writing even to list, so a user who may read the folder must be able to write
    the lock, whatever the umask of the first process was. An existing lock is left as it is."""
    os.makedirs(cache_dir, exist_ok=True)
    try:
        lock = os.open(os.path.join(cache_dir, LOCK), os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
    except OSError:  # it is there, or this is not our folder: the SDK will say what is wrong
        return
    readers = stat.S_IMODE(os.stat(cache_dir).st_mode) & (stat.S_IRGRP | stat.S_IROTH)
    if hasattr(os, "fchmod"):
        os.fchmod(lock, 0o600 | readers | readers >> 1)
    os.close(lock)


def _within_context(session: Any, request: Any, wanted: int) -> int:
    """Foundry Local refuses a request whose answer might not fit; ask for what fits instead."""
    budget = session.preflight_request(request)
    room: int = budget.context_limit_tokens - budget.prompt_tokens
    return min(wanted, room) if room > 0 else wanted


def _stream(session: Any, request: Any, emit: Emit) -> Json:
    from foundry_local_sdk import TextItem

    session.set_streaming(True)
    texts: list[str] = []
    started = first = time.perf_counter()
    with session.process_streaming_request(request) as stream:
        for item in stream:
            if not isinstance(item, TextItem):
                continue
            if not texts:
                first = time.perf_counter()
            texts.append(item.text)
            emit({"text": item.text})
        ended = time.perf_counter()
        with stream.final_response as response:
            usage, reason = response.get_usage(), response.finish_reason
    if not texts:
        first = ended
    return {
        "text": "".join(texts),
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "first_token_seconds": first - started,
        "tokens_per_second": rate(usage.completion_tokens, started, first, ended),
        "finish_reason": reason.name.lower(),
    }


if __name__ == "__main__":
    if os.environ.pop(CONFINED, ""):
        confine_worker()
    worker = FoundryWorker()
    verbs = ("open", "register", "unregister", "list", *VERBS)
    serve({verb: getattr(worker, verb) for verb in verbs})
    # Not through the SDK's close(): after a model was loaded it waits a second for its own threads (2.2.1),
    # and all it would free goes with the process. Whatever we promised is on disk already.
    os._exit(0)
