"""Models in the shapes of real ones (Qwen2.5: 0.5 B, 1.5 B, 3 B), made on the spot from a seed, without a download.

Their weights resemble trained ones, so that rounding has something to lose: most of a matrix is of low rank, a few
inputs carry large numbers (outlier channels), and the head is sure of some tokens. They answer nonsense.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

VOCABULARY = 151_936
RANK = 64
SPREAD = 0.6  # of what a matrix makes of numbers around 1, whatever its width
SHARD = 2 << 30  # bytes
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@dataclass(frozen=True, kw_only=True)
class Shape:
    hidden: int
    inner: int
    layers: int
    heads: int
    kv_heads: int = 2


SHAPES = {
    "0.5b": Shape(hidden=896, inner=4864, layers=24, heads=14),
    "1.5b": Shape(hidden=1536, inner=8960, layers=28, heads=12),
    "3b": Shape(hidden=2048, inner=11008, layers=36, heads=16),
}


def write_model(folder: Path, shape: Shape) -> None:
    """As Hugging Face's library saves it: bfloat16, in shards, with a tokenizer made of this project's docs."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    _write_tokenizer(folder)
    _write_config(folder, shape)
    shards: list[dict[str, Any]] = [{}]
    held = total = 0
    for name, tensor in _tensors(shape):
        if held > SHARD:
            save_file(shards[-1], folder / f"model-{len(shards):05}.safetensors", {"format": "pt"})
            shards[-1] = dict.fromkeys(shards[-1])
            shards.append({})
            held = 0
        shards[-1][name] = tensor
        held, total = held + tensor.nbytes, total + tensor.nbytes
    save_file(shards[-1], folder / f"model-{len(shards):05}.safetensors", {"format": "pt"})
    places = {name: f"model-{number:05}.safetensors" for number, shard in enumerate(shards, 1) for name in shard}
    index = {"metadata": {"total_size": total}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def _tensors(shape: Shape) -> Iterator[tuple[str, Any]]:
    import torch

    torch.manual_seed(0)
    wide, inner = shape.hidden, shape.inner
    quiet = (2 * shape.layers) ** -0.5  # what a layer adds to the states: together as much as they began with
    narrow = wide // shape.heads * shape.kv_heads
    yield "model.embed_tokens.weight", (torch.randn(VOCABULARY, wide) * (SPREAD / wide**0.5)).bfloat16()
    for layer in range(shape.layers):
        start = f"model.layers.{layer}"
        for part, rows in (("q", wide), ("k", narrow), ("v", narrow)):
            yield f"{start}.self_attn.{part}_proj.weight", _matrix(rows, wide)
            yield f"{start}.self_attn.{part}_proj.bias", torch.randn(rows).bfloat16()
        yield f"{start}.self_attn.o_proj.weight", _matrix(wide, wide) * quiet
        yield f"{start}.mlp.gate_proj.weight", _matrix(inner, wide)
        yield f"{start}.mlp.up_proj.weight", _matrix(inner, wide)
        yield f"{start}.mlp.down_proj.weight", _matrix(wide, inner) * quiet
        yield f"{start}.input_layernorm.weight", _norm(wide)
        yield f"{start}.post_attention_layernorm.weight", _norm(wide)
    yield "model.norm.weight", _norm(wide) * 4


def _matrix(rows: int, columns: int) -> Any:
    """Half of the square of its numbers is of low rank, and one input in 200 weighs ten times as much."""
    import torch

    low = torch.randn(rows, RANK) @ torch.randn(RANK, columns) / RANK**0.5
    matrix = (low + torch.randn(rows, columns)) * (SPREAD / (2 * columns) ** 0.5)
    matrix[:, torch.randint(columns, (max(1, columns // 200),))] *= 10
    return matrix.bfloat16()


def _norm(size: int) -> Any:
    import torch

    return torch.exp(torch.randn(size) * 0.3).bfloat16()


def _write_tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=4000, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    docs = sorted((Path(__file__).parents[1] / "docs").glob("*.md"))
    tokenizer.train([str(path) for path in docs], trainer)
    whole = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=special[2], pad_token=special[0])
    whole.chat_template = TEMPLATE
    whole.save_pretrained(folder)


def _write_config(folder: Path, shape: Shape) -> None:
    from transformers import GenerationConfig, Qwen2Config

    config = Qwen2Config(
        architectures=["Qwen2ForCausalLM"],
        vocab_size=VOCABULARY,
        hidden_size=shape.hidden,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        max_position_embeddings=32768,
        tie_word_embeddings=True,
        rope_theta=1_000_000.0,
        bos_token_id=0,
        eos_token_id=2,
        pad_token_id=0,
        dtype="bfloat16",
    )
    config.save_pretrained(folder)
    GenerationConfig(bos_token_id=0, eos_token_id=2, pad_token_id=0).save_pretrained(folder)
