"""A child that reads converted models with the runtime they were built for, and their sources with transformers."""

import ctypes
import gc
import os
import threading
from pathlib import Path
from typing import Any

from reconciler.host.child_side import Emit, Json, serve
from reconciler.host.processes import memory_of

M_MMAP_THRESHOLD, MAPPED = -3, 64 << 10  # malloc.h; from how many bytes on memory is given back once it is freed
PROMPT_LENGTH = 300  # longer than the windows and the unstretched lengths of tests.tiny_models


def answer(parameters: Json, emit: Emit) -> Json:
    """What a model says to a prompt, greedily; loading and more than one step included."""
    import onnxruntime_genai as runtime

    model = runtime.Model(parameters["folder"])
    tokenizer = runtime.Tokenizer(model)
    tokens = tokenizer.encode(parameters["prompt"])
    generator = _generator(runtime, model, len(tokens) + parameters.get("tokens", 8))
    generator.append_tokens(tokens)
    while not generator.is_done():
        generator.generate_next_token()
    text = tokenizer.decode(generator.get_sequence(0)[len(tokens) :])
    return {"text": text, "echo": tokenizer.decode(tokenizer.encode("hello world"))}


def compare(parameters: Json, emit: Emit) -> Json:
    """The least and the mean cosine of the logits over all positions of one prompt, source against artifact."""
    import numpy

    tokens = numpy.random.RandomState(0).randint(0, 256, parameters.get("tokens", PROMPT_LENGTH))
    expected, found = (_source_logits(parameters["source"], tokens), _artifact_logits(parameters["artifact"], tokens))
    lengths = numpy.linalg.norm(expected, axis=-1) * numpy.linalg.norm(found, axis=-1)
    cosines = (expected * found).sum(-1) / lengths
    return {"least": float(cosines.min()), "mean": float(cosines.mean())}


def stream(parameters: Json, emit: Emit) -> Json:
    """Makes a model of many layers below the folder and computes it layer by layer: the bytes of its weights in single
    precision, and by how much this process grew."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    from reconciler.conversion.order import Order
    from reconciler.conversion.worker.streamed import StreamedSource
    from tests.conversions import look, recipe_of
    from tests.tiny_models import write_tokenizer

    source = os.path.join(parameters["folder"], "source")
    config = Qwen2Config(**parameters["config"], dtype="bfloat16", bos_token_id=0, eos_token_id=1, pad_token_id=0)
    Qwen2ForCausalLM(config).to(torch.bfloat16).save_pretrained(source)
    write_tokenizer(Path(source))
    recipe = recipe_of(look(source), "fp32")

    def computed(name: str) -> int:
        scratch = os.path.join(parameters["folder"], name)
        os.mkdir(scratch)
        order = Order(recipe=recipe, source=source, adapter=None, output="", scratch=scratch, log="", timeout=0)
        streamed = StreamedSource(order)
        streamed.logits([[1, 2, 3, 4]])
        return streamed.weights

    computed("first")  # imports what it needs, which takes memory too
    with _Growth() as growth:
        weights = computed("second")
    return {"weights": 4 * weights, "growth": growth.bytes}


class _Growth:
    """The most memory of this process, without files that are mapped, beyond what it had."""

    def __enter__(self) -> "_Growth":
        gc.collect()
        allocator = ctypes.CDLL(None)
        allocator.malloc_trim(0)  # or what was freed before hides what is taken now
        allocator.mallopt(M_MMAP_THRESHOLD, MAPPED)  # or up to 32 MiB of what is freed are kept, by how threads meet
        self._before, self._ended = memory_of(os.getpid()), threading.Event()
        self.bytes = 0
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._ended.wait(0.002):
            self.bytes = max(self.bytes, memory_of(os.getpid()) - self._before)

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()


def _source_logits(folder: str, tokens: Any) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    with torch.no_grad():
        return model(torch.tensor(tokens)[None]).logits[0].numpy()


def _artifact_logits(folder: str, tokens: Any) -> Any:
    import numpy
    import onnxruntime_genai as runtime

    generator = _generator(runtime, runtime.Model(folder), len(tokens) + 4)
    generator.append_tokens(tokens.astype(numpy.int32))
    logits = numpy.array(generator.get_output("logits"))[0].astype(numpy.float32)
    while not generator.is_done():  # some models pass the prompt and fail at the first new token
        generator.generate_next_token()
    return logits


def _generator(runtime: Any, model: Any, length: int) -> Any:
    parameters = runtime.GeneratorParams(model)
    parameters.set_search_options(max_length=length, min_length=0, do_sample=False)
    return runtime.Generator(model, parameters)


if __name__ == "__main__":
    serve({"answer": answer, "compare": compare, "stream": stream})
