"""Train the example's speech model from nothing: a Whisper of one layer each way that says whether a tone is low or
high, in English or Slovenian, built for onnxruntime-genai. And record the two tones it is asked about.

Deterministic on one machine (one thread, fixed seed) and some minutes on one core, most of which the window of 30 s
takes that every Whisper hears. Needs the extra `convert`.

    python examples/speech/train_tones.py     train, build, and write model/ and recordings/ beside this file
"""

import json
import os
import random
import shutil
import sys
import tempfile
import wave
from pathlib import Path
from typing import Any

os.environ |= {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration

HERE = Path(__file__).parent
KEPT = (
    *("genai_config.json", "audio_processor_config.json", "tokenizer.json", "tokenizer_config.json"),
    *("encoder.onnx", "encoder.onnx.data", "decoder.onnx", "decoder.onnx.data"),
)
RATE, DIMENSIONS, STEPS, BATCHES, BATCH, LEARNING_RATE = 16_000, 64, 300, 6, 8, 4e-3
# Seconds of a tone, one after the other: in the window of 30 s a short one is little, and hard to begin with.
LENGTHS = ((15.0, 28.0), (5.0, 15.0), (1.0, 5.0))
TONES = {"low": (250.0, 450.0), "high": (1500.0, 2500.0)}  # Hz, from and to
SENTENCES = {
    ("low", "en"): " This is a low tone.",
    ("high", "en"): " This is a high tone.",
    ("low", "sl"): " To je nizek ton.",
    ("high", "sl"): " To je visok ton.",
}
END = "<|endoftext|>"
SPECIAL = (
    *(END, "<|startoftranscript|>", "<|en|>", "<|sl|>", "<|translate|>", "<|transcribe|>"),
    *("<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"),
)
Example = tuple[torch.Tensor, torch.Tensor]


def tokenizer_of_bytes() -> Tokenizer:
    """Every byte is a token, and beside them Whisper's own, by which Foundry Local asks."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: number for number, letter in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(SPECIAL))
    return tokenizer


def tone(frequency: float, seconds: float, loudness: float) -> Any:
    return loudness * np.sin(2 * np.pi * frequency * np.arange(int(RATE * seconds)) / RATE)


def examples(tokenizer: Tokenizer, hear: WhisperFeatureExtractor, rng: random.Random) -> list[Example]:
    """Batches of what is heard and what is said, after the prompt that Foundry Local writes; long ones first."""
    found = []
    for seconds in (one for one in LENGTHS for _ in range(BATCHES)):
        chosen = [rng.choice(list(SENTENCES)) for _ in range(BATCH)]
        heard = [tone(rng.uniform(*TONES[kind]), rng.uniform(*seconds), rng.uniform(0.2, 0.8)) for kind, _ in chosen]
        said = [prompt(tokenizer, one[1]) + tokenizer.encode(SENTENCES[one] + END).ids for one in chosen]
        width = max(map(len, said))
        tokens = torch.tensor([row + [-100] * (width - len(row)) for row in said])
        found.append((hear(heard, sampling_rate=RATE, return_tensors="pt").input_features, tokens))
    return found


def prompt(tokenizer: Tokenizer, language: str) -> list[int]:
    text = f"<|startoftranscript|><|{language}|><|transcribe|><|notimestamps|>"
    return list(tokenizer.encode(text).ids)


def train(tokenizer: Tokenizer, batches: list[Example]) -> WhisperForConditionalGeneration:
    model = WhisperForConditionalGeneration(configuration(tokenizer))
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=STEPS)
    for step in range(STEPS):
        heard, said = batches[step * len(LENGTHS) // STEPS * BATCHES + step % BATCHES]
        wanted = said[:, 1:].clone()
        wanted[:, :3] = -100  # the rest of the prompt
        loss = model(input_features=heard, decoder_input_ids=said[:, :-1].clamp(min=0), labels=wanted).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if step % 20 == 19:
            print(f"step {step + 1} of {STEPS}: loss {loss.item():.5f}", file=sys.stderr, flush=True)
    return model.eval()


def configuration(tokenizer: Tokenizer) -> WhisperConfig:
    end = tokenizer.token_to_id(END)
    return WhisperConfig(
        vocab_size=tokenizer.get_vocab_size(),
        d_model=DIMENSIONS,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=2 * DIMENSIONS,
        decoder_ffn_dim=2 * DIMENSIONS,
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
        decoder_start_token_id=tokenizer.token_to_id("<|startoftranscript|>"),
        suppress_tokens=None,
        begin_suppress_tokens=None,
    )


def build(folder: Path, work: Path) -> None:
    """By onnxruntime-genai's model builder."""
    from onnxruntime_genai.models.builder import create_model

    cache = work / "cache"
    cache.mkdir()
    (cache / "kept").touch()  # builder 0.14.1 removes an empty one after the encoder, and then misses it
    create_model(None, str(folder), str(work / "built"), "fp32", "cpu", str(cache))
    (HERE / "model").mkdir(exist_ok=True)
    for name in KEPT:
        shutil.copyfile(work / "built" / name, HERE / "model" / name)


def record() -> None:
    (HERE / "recordings").mkdir(exist_ok=True)
    for name, frequency in (("low", 330.0), ("high", 2000.0)):
        with wave.open(str(HERE / "recordings" / f"{name}.wav"), "wb") as file:
            file.setparams((1, 2, RATE, 0, "NONE", ""))
            file.writeframes((tone(frequency, 2.0, 0.5) * 32767).astype("<i2").tobytes())


def main() -> int:
    torch.set_num_threads(1)
    torch.manual_seed(7)
    tokenizer, hear = tokenizer_of_bytes(), WhisperFeatureExtractor(feature_size=80)
    model = train(tokenizer, examples(tokenizer, hear, random.Random(7)))
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / "trained"
        model.save_pretrained(folder)
        tokenizer.save(str(folder / "tokenizer.json"))
        settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": END, "pad_token": END, "unk_token": END}
        (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")
        build(folder, Path(work))
    record()
    return 0


if __name__ == "__main__":
    sys.exit(main())
