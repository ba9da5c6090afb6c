"""What the worker processes of all Foundry Locals do alike with models that their catalog knows: load them, let go of
them, and measure in their place."""

import time
from typing import Any

from reconciler.backends.worker_side import forget_peak_memory, give_back_memory
from reconciler.domain.errors import PermanentError
from reconciler.host.child_side import Emit, Json

VERBS = (
    *("load", "unload", "ask", "embed", "transcribe", "count"),
    *("tokenizer", "decode", "providers", "measure"),
)  # of each worker


class ModelWorker:
    """One method per verb; parameters and results as in `backends.foundry.foundry`. `_catalog` is the SDK's, once the
    worker has opened it."""

    def __init__(self) -> None:
        self._catalog: Any = None
        self._loaded: dict[str, Any] = {}
        self._compared: dict[str, Json] = {}

    def load(self, parameters: Json, emit: Emit) -> Json:
        """Into this process; seconds are 0 when it is there already."""
        identity = parameters["id"]
        if identity in self._loaded:
            return {"seconds": 0.0}
        model = self._catalog.get_model_variant(identity)
        if model is None:
            raise PermanentError(f"model not found: {identity}", code="NotRegistered")
        forget_peak_memory()
        started = time.perf_counter()
        model.load()
        self._loaded[identity] = model
        return {"seconds": time.perf_counter() - started}

    def unload(self, parameters: Json, emit: Emit) -> Json:
        loaded = self._loaded.pop(parameters["id"], None)
        if loaded is not None:
            loaded.unload()
            give_back_memory()
        return {}

    def tokenizer(self, parameters: Json, emit: Emit) -> Json:
        """Needs no catalog and no model. Many releases share one tokenizer, and a large one takes seconds."""
        from reconciler.backends.foundry.tokenizer import compared_in, content_of

        folder = parameters["folder"]
        key = content_of(folder)
        if key not in self._compared:
            self._compared[key] = compared_in(folder)
        return self._compared[key]

    def decode(self, parameters: Json, emit: Emit) -> Json:
        """In the place of the loaded model: the memory is not needed twice."""
        from reconciler.backends.foundry.decoding import decoded
        from reconciler.domain.reference import from_plain

        self.unload(parameters, emit)
        boundaries, tokens, reference = (parameters[name] for name in ("boundaries", "tokens", "reference"))
        found, compared = decoded(parameters["folder"], boundaries, tokens, reference and from_plain(reference))
        return {"decoded": vars(found), "referenced": vars(compared)}

    def providers(self, parameters: Json, emit: Emit) -> Json:
        """In the place of the loaded model."""
        from reconciler.backends.foundry.provider_profile import computed

        self.unload(parameters, emit)
        return {"providers": [vars(one) for one in computed(parameters["folder"])]}
