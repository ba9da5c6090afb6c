"""The child process that holds foundry-local-sdk 1.x, from a folder of its own: it cannot be installed beside 2.x.
`backends.foundry_cache.cache_runtime` starts it; no module imports it.

One process serves one cache. Models come and go by folders in it, which the parent moves; this process only loads them,
asks them, and lets go of them before their folder goes.
"""

import json
import os
import re
import sys
import time
from importlib.metadata import version
from typing import Any

from reconciler.backends.foundry.model_worker import VERBS, ModelWorker
from reconciler.backends.worker_side import confine_worker, peak_memory, rate
from reconciler.host.child_side import Emit, Json, serve
from reconciler.host.places import installed_versions

CONFINED, SDK = "RECONCILER_CONFINED", "RECONCILER_FOUNDRY_SDK"  # as the parent, whose imports this can do without

PACKAGES = (
    *("foundry-local-sdk", "foundry-local-core", "onnxruntime", "onnxruntime-gpu", "onnxruntime-core"),
    *("onnxruntime-genai", "onnxruntime-genai-cuda", "onnxruntime-genai-core"),
)
LEAST, BEYOND = (1, 2, 1), (2,)  # 1.0 to 1.2.0 list what is in their catalog only
NO_MODELS = "No models found"  # what it calls an empty cache


class CacheWorker(ModelWorker):
    def open(self, parameters: Json, emit: Emit) -> Json:
        from foundry_local_sdk import Configuration, FoundryLocalManager

        found = version("foundry-local-sdk")
        if not LEAST <= tuple(map(int, re.findall(r"\d+", found)[:3])) < BEYOND:
            raise ImportError(f"foundry-local-sdk {found} finds no models of others in its cache, 1.2.1 to 1.2.4 do")
        scratch = parameters["scratch"]
        FoundryLocalManager.initialize(
            Configuration(
                app_name="reconciler",
                app_data_dir=os.path.join(scratch, "app"),
                logs_dir=os.path.join(scratch, "logs"),
                model_cache_dir=parameters["cache_dir"],
            )
        )
        self._catalog = FoundryLocalManager.instance.catalog
        return {}

    def list(self, parameters: Json, emit: Emit) -> Json:
        try:
            return {"ids": [model.id for model in self._catalog.get_cached_models()]}
        except Exception as error:
            if NO_MODELS in str(error):
                return {"ids": []}
            raise

    def ask(self, parameters: Json, emit: Emit) -> Json:
        limit = self._within_context(parameters)
        client = self._client(parameters, limit, parameters["temperature"])
        return _stream(client, _messages(parameters), emit)

    def embed(self, parameters: Json, emit: Emit) -> Json:
        client = self._loaded[parameters["id"]].get_embedding_client()
        started = time.perf_counter()
        found = client.generate_embeddings(parameters["texts"])
        return {"vectors": [one.embedding for one in found.data], "seconds": time.perf_counter() - started}

    def transcribe(self, parameters: Json, emit: Emit) -> Json:
        client = self._loaded[parameters["id"]].get_audio_client()
        client.settings.language = parameters["language"]
        started = time.perf_counter()
        text = client.transcribe(parameters["path"]).text
        return {"text": text, "seconds": time.perf_counter() - started}

    def count(self, parameters: Json, emit: Emit) -> Json:
        """It tells the length of a prompt with an answer only."""
        answer = self._client(parameters, 1, 0.0).complete_chat(_messages(parameters))
        return {"tokens": answer.usage.prompt_tokens}

    def _client(self, parameters: Json, limit: int, temperature: float | None) -> Any:
        client = self._loaded[parameters["id"]].get_chat_client()
        client.settings.max_tokens, client.settings.temperature = limit, temperature
        return client

    def _within_context(self, parameters: Json) -> int:
        """It refuses a request whose answer might not fit; ask for what fits instead."""
        wanted: int = parameters["max_tokens"]
        folder = self._loaded[parameters["id"]].get_path()
        with open(os.path.join(folder, "genai_config.json"), encoding="utf-8") as file:
            context = json.load(file)["model"]["context_length"]
        characters = sum(len(text) for _, text in parameters["messages"])
        if wanted + 4 * characters < context:  # it fits, however it is read: nothing needs to be counted
            return wanted
        room: int = context - self.count(parameters, lambda event: None)["tokens"]  # type: ignore[arg-type]
        return min(wanted, room) if room > 0 else wanted

    def measure(self, parameters: Json, emit: Emit) -> Json:
        """The names of packages say that they are not those of our own environment."""
        found = {f"foundry-local-1:{package}": one for package, one in installed_versions(PACKAGES).items()}
        return {"peak_memory_bytes": peak_memory(), "runtime": found}


def _messages(parameters: Json) -> list[dict[str, str]]:
    return [{"role": role, "content": text} for role, text in parameters["messages"]]


def _stream(client: Any, messages: list[dict[str, str]], emit: Emit) -> Json:
    texts: list[str] = []
    usage, reason = None, ""
    started = first = time.perf_counter()
    for chunk in client.complete_streaming_chat(messages):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            reason = choice.finish_reason or reason
            if choice.delta.content:
                if not texts:
                    first = time.perf_counter()
                texts.append(choice.delta.content)
                emit({"text": choice.delta.content})
    ended = time.perf_counter()
    tokens = usage.completion_tokens if usage else 0
    return {
        "text": "".join(texts),
        "prompt_tokens": usage.prompt_tokens if usage else 0,
        "completion_tokens": tokens,
        "first_token_seconds": (first if texts else ended) - started,
        "tokens_per_second": rate(tokens, started, first if texts else ended, ended),
        "finish_reason": reason,
    }


if __name__ == "__main__":
    if os.environ.pop(CONFINED, ""):
        confine_worker()
    sys.path.insert(0, os.environ.pop(SDK))
    worker = CacheWorker()
    verbs = ("open", "list", *VERBS)
    serve({verb: getattr(worker, verb) for verb in verbs})
    os._exit(0)  # what its own end would free goes with the process
