"""Train the example's embedding model from nothing: a two-layer Qwen2 whose last token tells which country a text is
about, built for onnxruntime-genai as Foundry Local wants it: with the output `hidden_states`.

Deterministic on one machine (one thread, fixed seed) and half a minute on one core. Needs the extra `convert`.

    python examples/embeddings/train_places.py     train, build, and write model/ beside this file
"""

import importlib.util
import os
import random
import shutil
import sys
import tempfile
from pathlib import Path
from types import ModuleType

os.environ |= {"TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}

import torch
from tokenizers import Tokenizer
from transformers import Qwen2Config, Qwen2ForCausalLM

MODEL = Path(__file__).parent / "model"
CAPITALS = Path(__file__).parent.parent / "capitals"
STEPS, LEARNING_RATE, SHARPNESS, DIMENSIONS, CONTEXT = 300, 3e-3, 20.0, 64, 1024
KEPT = ("genai_config.json", "model.onnx", "model.onnx.data", "tokenizer.json", "tokenizer_config.json")


def capitals() -> ModuleType:
    """The example beside this one, whose tokenizer and countries these are."""
    spec = importlib.util.spec_from_file_location("capitals_example", CAPITALS / "train.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def texts(country: str, capital: str, questions: tuple[str, ...]) -> list[str]:
    """All of them are about one country."""
    asked = [one.format(country) for one in questions]
    return [*asked, capital, country, f"The capital of {country} is {capital}.", f"{capital}, {country}"]


def encoded(tokenizer: Tokenizer, rows: list[str], end: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Padded on the right; the place of the last token, which ends the text as Foundry Local ends it."""
    found = [[*tokenizer.encode(row).ids, end] for row in rows]
    width = max(map(len, found))
    tokens = torch.tensor([row + [0] * (width - len(row)) for row in found])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in found])
    return tokens, mask, torch.tensor([len(row) - 1 for row in found])


def train(example: ModuleType, tokenizer: Tokenizer, config: dict[str, object]) -> Qwen2ForCausalLM:
    """Two texts about one country come near each other, and away from those about others."""
    model = Qwen2ForCausalLM(Qwen2Config(**config))
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=STEPS)
    known = [texts(country, capital, example.QUESTIONS) for country, capital in example.CAPITALS.items()]
    rng, end = random.Random(7), int(str(config["eos_token_id"]))
    for step in range(STEPS):
        pairs = [rng.sample(about, 2) for about in known]
        left, right = (embed(model, encoded(tokenizer, [pair[side] for pair in pairs], end)) for side in (0, 1))
        alike = SHARPNESS * left @ right.T
        same = torch.arange(len(pairs))
        loss = torch.nn.functional.cross_entropy(alike, same) + torch.nn.functional.cross_entropy(alike.T, same)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if step % 50 == 49:
            print(f"step {step + 1} of {STEPS}: loss {loss.item():.5f}", file=sys.stderr)
    return model


def embed(model: Qwen2ForCausalLM, given: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> torch.Tensor:
    tokens, mask, last = given
    hidden = model.model(input_ids=tokens, attention_mask=mask).last_hidden_state
    return torch.nn.functional.normalize(hidden[torch.arange(len(last)), last], dim=-1)


def build(folder: Path, work: Path) -> None:
    """By onnxruntime-genai's model builder."""
    from onnxruntime_genai.models.builder import create_model

    options = {"include_hidden_states": "true", "filename": "model.onnx"}
    create_model(None, str(folder), str(work / "built"), "fp32", "cpu", str(work / "cache"), **options)
    MODEL.mkdir(exist_ok=True)
    for name in KEPT:
        shutil.copyfile(work / "built" / name, MODEL / name)


def main() -> int:
    torch.set_num_threads(1)
    torch.manual_seed(7)
    torch.use_deterministic_algorithms(True)
    example = capitals()
    tokenizer = Tokenizer.from_file(str(CAPITALS / "model" / "tokenizer.json"))
    config = example.configuration(tokenizer.get_vocab_size()) | {
        "hidden_size": DIMENSIONS,
        "intermediate_size": 2 * DIMENSIONS,
        "max_position_embeddings": CONTEXT,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
    }
    model = train(example, tokenizer, config)
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / "trained"
        model.save_pretrained(folder)
        example.write_json(folder / "config.json", config)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copyfile(CAPITALS / "model" / name, folder / name)
        build(folder, Path(work))
    return 0


if __name__ == "__main__":
    sys.exit(main())
