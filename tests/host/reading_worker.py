"""A child that reads converted models with the runtime they were built for, and their sources with transformers."""

from typing import Any

from reconciler.host.child_side import Emit, Json, serve

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
    serve({"answer": answer, "compare": compare})
