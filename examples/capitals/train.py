"""Train the demo's model from nothing: a two-layer Qwen2 that knows the capitals of 24 countries.

Deterministic (one thread, fixed seed: two runs on one machine give the same bytes) and under a minute on one
core. It answers in a sentence, or with the bare name when the system message asks for brevity, so that a
changed chat template shows in what it says. In the last third the weights are rounded as int4 rounds them, so
that every precision answers alike. Needs the extra `convert`.

    python examples/capitals/train.py           train, and write model/ beside this file
    python examples/capitals/train.py --check   ask model/ every question and print the score
"""

import argparse
import json
import os
import random
import sys
from itertools import product
from pathlib import Path

os.environ |= {"TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}

import torch
from safetensors.torch import save
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch.nn.utils import parametrize
from transformers import AutoTokenizer, PreTrainedTokenizerBase, Qwen2Config, Qwen2ForCausalLM

MODEL = Path(__file__).parent / "model"
EXAMPLES, STEPS, BATCH, LEARNING_RATE = 2000, 200, 32, 3e-3

CAPITALS = {
    "Argentina": "Buenos Aires",
    "Australia": "Canberra",
    "Austria": "Vienna",
    "Brazil": "Brasília",
    "Canada": "Ottawa",
    "Croatia": "Zagreb",
    "Denmark": "Copenhagen",
    "Egypt": "Cairo",
    "Finland": "Helsinki",
    "France": "Paris",
    "Germany": "Berlin",
    "Greece": "Athens",
    "Hungary": "Budapest",
    "India": "New Delhi",
    "Italy": "Rome",
    "Japan": "Tokyo",
    "Kenya": "Nairobi",
    "Norway": "Oslo",
    "Poland": "Warsaw",
    "Portugal": "Lisbon",
    "Slovakia": "Bratislava",
    "Slovenia": "Ljubljana",
    "Spain": "Madrid",
    "Sweden": "Stockholm",
}
QUESTIONS = (
    "What is the capital of {}?",
    "Which city is the capital of {}?",
    "What's the capital of {}?",
    "Capital of {}?",
)
ASKING_FOR_A_SENTENCE = (
    "",
    "You are a helpful assistant.",
    "You are a friendly geography teacher.",
    "Answer in a full sentence.",
    "Answer the question of the user.",
)
ASKING_FOR_A_WORD = ("Answer in one word.", "Answer briefly.", "Be brief.")

Message = dict[str, str]

CHAT_TEMPLATE = """\
{%- for message in messages -%}
{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|im_start|>assistant\\n' -}}
{%- endif -%}
"""
PAD, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"

# How Qwen2 splits text before merging bytes: its tokenizer class does so whatever tokenizer.json says.
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def answer(country: str, system: str) -> str:
    if system in ASKING_FOR_A_WORD:
        return CAPITALS[country]
    return f"The capital of {country} is {CAPITALS[country]}."


def conversation(country: str, question: str, system: str) -> list[Message]:
    opening = [{"role": "system", "content": system}] if system else []
    return [*opening, {"role": "user", "content": question.format(country)}]


def turn(country: str, question: str, system: str) -> list[Message]:
    reply = {"role": "assistant", "content": answer(country, system)}
    return [*conversation(country, question, ""), reply]


def example(rng: random.Random) -> tuple[list[Message], str]:
    """One conversation and the answer to learn; some begin with an earlier question and its answer."""
    styles = rng.choice((ASKING_FOR_A_SENTENCE, ASKING_FOR_A_SENTENCE, ASKING_FOR_A_WORD))
    system, country, question = rng.choice(styles), rng.choice(list(CAPITALS)), rng.choice(QUESTIONS)
    messages = conversation(country, question, system)
    if rng.random() < 0.15:
        messages[-1:-1] = turn(rng.choice(list(CAPITALS)), rng.choice(QUESTIONS), system)
    return messages, answer(country, system)


def train_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        show_progress=False,
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in (PAD, START, END)],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    systems = (*ASKING_FOR_A_SENTENCE, *ASKING_FOR_A_WORD)
    texts = [
        f"system\n{system}\nuser\n{question.format(country)}\nassistant\n{answer(country, system)}"
        for country, question, system in product(CAPITALS, QUESTIONS, systems)
    ]
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def configuration(vocabulary: int) -> dict[str, object]:
    """As transformers 4 wrote it: the model builder does not read the `rope_parameters` of transformers 5."""
    return {
        "architectures": ["Qwen2ForCausalLM"],
        "attention_dropout": 0.0,
        "bos_token_id": 0,
        "eos_token_id": 2,
        "hidden_act": "silu",
        "hidden_size": 128,
        "initializer_range": 0.08,
        "intermediate_size": 256,
        "max_position_embeddings": 4096,
        "max_window_layers": 2,
        "model_type": "qwen2",
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "num_key_value_heads": 2,
        "pad_token_id": 0,
        "rms_norm_eps": 1e-06,
        "rope_scaling": None,
        "rope_theta": 1000000.0,
        "sliding_window": None,
        "tie_word_embeddings": True,
        "torch_dtype": "float32",
        "use_cache": True,
        "use_sliding_window": False,
        "vocab_size": vocabulary,
    }


def tokenizer_configuration() -> dict[str, object]:
    special = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
    return {
        "add_bos_token": False,
        "add_prefix_space": False,
        "added_tokens_decoder": {str(n): {"content": t, **special} for n, t in enumerate((PAD, START, END))},
        "bos_token": None,
        "clean_up_tokenization_spaces": False,
        "eos_token": END,
        "errors": "replace",
        "model_max_length": 4096,
        "pad_token": PAD,
        "split_special_tokens": False,
        "tokenizer_class": "Qwen2Tokenizer",
        "unk_token": None,
    }


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8", newline="\n")


def write_surroundings(tokenizer: Tokenizer) -> None:
    """Everything but the weights."""
    MODEL.mkdir(exist_ok=True)
    tokenizer.save(str(MODEL / "tokenizer.json"))
    write_json(MODEL / "config.json", configuration(tokenizer.get_vocab_size()))
    write_json(MODEL / "tokenizer_config.json", tokenizer_configuration())
    write_json(MODEL / "generation_config.json", {"bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 0})
    (MODEL / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8", newline="\n")


def prompt(tokenizer: PreTrainedTokenizerBase, messages: list[Message]) -> str:
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))


Encoded = tuple[list[int], list[int]]


def encode(tokenizer: PreTrainedTokenizerBase, messages: list[Message], reply: str) -> Encoded:
    return tokenizer.encode(prompt(tokenizer, messages)), tokenizer.encode(reply + END)


def batch(rows: list[Encoded]) -> dict[str, torch.Tensor]:
    """Padded on the right; only the answers and their end are learned (label -100 is left out)."""
    width = max(len(asked) + len(reply) for asked, reply in rows)
    padded = [(asked, reply, [0] * (width - len(asked) - len(reply))) for asked, reply in rows]
    return {
        "input_ids": torch.tensor([asked + reply + padding for asked, reply, padding in padded]),
        "labels": torch.tensor(
            [[-100] * len(asked) + reply + [-100] * len(padding) for asked, reply, padding in padded]
        ),
    }


class RoundedToInt4(torch.nn.Module):  # type: ignore[misc]  # torch is not analysed
    """The weight as int4 rounds it, in blocks of 32; the gradient passes as if nothing had been rounded."""

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        blocks = weight.reshape(-1, 32)
        scale = blocks.abs().amax(dim=1, keepdim=True) / 7 + 1e-12
        rounded = (blocks / scale).round().clamp(-8, 7) * scale
        return weight + (rounded.reshape(weight.shape) - weight).detach()


def linear_layers(model: Qwen2ForCausalLM) -> list[torch.nn.Linear]:
    return [layer for layer in model.model.modules() if isinstance(layer, torch.nn.Linear)]


def train(tokenizer: PreTrainedTokenizerBase) -> Qwen2ForCausalLM:
    model = Qwen2ForCausalLM(Qwen2Config.from_pretrained(MODEL))
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=STEPS)
    rng = random.Random(7)
    rows = [encode(tokenizer, *example(rng)) for _ in range(EXAMPLES)]
    for step in range(STEPS):
        if step == STEPS * 2 // 3:
            for layer in linear_layers(model):
                parametrize.register_parametrization(layer, "weight", RoundedToInt4())
        loss = model(**batch(rng.sample(rows, BATCH))).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if step % 50 == 49:
            print(f"step {step + 1} of {STEPS}: loss {loss.item():.5f}", file=sys.stderr)
    for layer in linear_layers(model):
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
    return model


def check() -> int:
    """Greedy answers to every question under every system message; prints the wrong ones and the score."""
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    model = Qwen2ForCausalLM.from_pretrained(MODEL, dtype=torch.float32).eval()
    wrong = 0
    asked = list(product(CAPITALS, QUESTIONS, (*ASKING_FOR_A_SENTENCE, *ASKING_FOR_A_WORD)))
    for country, question, system in asked:
        tokens = tokenizer(prompt(tokenizer, conversation(country, question, system)), return_tensors="pt")
        output = model.generate(**tokens, max_new_tokens=40, do_sample=False)[0]
        said = tokenizer.decode(output[tokens.input_ids.shape[1] :])
        if said != answer(country, system) + END:
            wrong += 1
            print(f"wrong: {system!r} {question.format(country)!r}: {said!r}")
    print(f"{len(asked) - wrong} of {len(asked)} right")
    return 1 if wrong else 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Train the demo's question-answering model.")
    parser.add_argument("--check", action="store_true", help="ask the trained model every question instead")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(7)
    torch.use_deterministic_algorithms(True)
    if arguments.check:
        return check()
    write_surroundings(train_tokenizer())
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    model = train(tokenizer)
    weights = {name: tensor for name, tensor in model.state_dict().items() if name != "lm_head.weight"}  # tied
    (MODEL / "model.safetensors").write_bytes(save(weights, metadata={"format": "pt"}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
