"""Tiny tokenizers of each kind that a runtime may misread, as the `tokenizer.json` that `tokenizers` writes. Two are
trained (byte-level, and on words that begin with "▁"); the rest are these two with other settings."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from tests.tiny_models import write_tokenizer

CORPUS = [
    "The harbour was quiet before sunrise, and a single lamp moved along the pier, food foo bar  two   spaces    four",
    "In 1987 the valley had 12,408 inhabitants; by 2021 there were 9,775. 2024 3.14 I'm you're we'll THEY'VE don't",
    "def merge(left, right):    result, i = [], 0    while i < len(left):        result.append(left[i]); i += 1",
    "Der Zug nach Linz fährt um 7 Uhr 40 ab. ¿Dónde está la biblioteca? Это просто короткое предложение. 東京は日本",
] * 3
MARKS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<s>", "</s>", "<unk>")
VOCABULARY = 700  # ids of the models that these belong to

Settings = dict[str, Any]

WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN, LLAMA3 = WORDS % r"\p{N}", WORDS % r"\p{N}{1,3}"
POSSESSIVE = r"[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s"

BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
TO_SPACE = {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}
FROM_SPACE = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
STRIP = {"type": "Strip", "content": " ", "start": 1, "stop": 0}


def several(kind: str, *parts: Settings) -> Settings:
    inner = {"pre_tokenizer": "pretokenizers", "normalizer": "normalizers", "decoder": "decoders"}[kind]
    return {kind: {"type": "Sequence", inner: list(parts)}}


def split(regex: str, *before: Settings) -> Settings:
    part = {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}
    return several("pre_tokenizer", *before, part, {**BYTES, "use_regex": False})


def normalized(*kinds: str) -> Settings:
    return several("normalizer", *({"type": kind} for kind in kinds))


def added(text: str, **settings: bool) -> Settings:
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
    return {"more": {"content": text, **plain, **settings}}


def words(prefix: bool = True, **more: Any) -> Settings:
    """As sentencepiece does it; `prefix`: a space before the first word that goes again."""
    parts = (TO_SPACE, {"type": "ByteFallback"}, {"type": "Fuse"})
    return {"words": True, **several("decoder", *parts, *((STRIP,) if prefix else ())), **more}


def metaspace(scheme: str) -> Settings:
    part = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": False}
    return words(scheme != "never", pre_tokenizer=part)


DIGITS, PUNCTUATION = {"type": "Digits", "individual_digits": True}, {"type": "Punctuation", "behavior": "Isolated"}
PREPEND = several("normalizer", {"type": "Prepend", "prepend": "▁"}, FROM_SPACE)

READ_ALIKE: dict[str, Settings] = {
    "GPT-2": {},
    "Qwen": split(QWEN),
    "Llama 3": split(LLAMA3),
    "escapes in the expression": split(LLAMA3.replace(r"\r", "\r").replace(r"\n", "\n")),
    "a trimmed right side": added("<foo>", rstrip=True),
    "Llama 2, Phi-3, TinyLlama": words(pre_tokenizer=None, **PREPEND),
    "Gemma": words(False, pre_tokenizer=None, normalizer=FROM_SPACE),
    "Metaspace, never a prefix": metaspace("never"),
    "Metaspace, a first prefix": metaspace("first"),
}
COMPOSED_ALIKE = {"Qwen with NFC": {**split(QWEN), **normalized("NFC")}}
READ_OTHERWISE: dict[str, tuple[Settings, str]] = {  # with the shortest text that shows it
    "a prefix space": ({"pre_tokenizer": {**BYTES, "add_prefix_space": True}}, "\t"),
    "Metaspace, always a prefix": (metaspace("always"), " "),
    "NFKC": (normalized("NFKC"), "ﬁ"),
    "NFD": (normalized("NFD"), "Ġ"),
    "lower case": (normalized("Lowercase"), "Ġ"),
    "accents": (normalized("NFD", "StripAccents"), "Ġ"),
    "a trimmed left side": (added("<foo>", lstrip=True), " <foo>"),
    "a single word": (added("foo", single_word=True), "afoo"),
    "a normalized token": ({**normalized("Lowercase"), **added("FOO", normalized=True)}, "Ġ"),
    "punctuation apart": (several("pre_tokenizer", PUNCTUATION, DIGITS, BYTES), " 1"),
    "underlines that are spaces": (
        words(False, pre_tokenizer=None, normalizer=FROM_SPACE, **added("▁▁▁▁▁")), "▁▁▁▁▁"
    ),
    "an id beyond the model": ({**added("<foo>"), "beyond": True}, "<foo>"),
}  # fmt: skip
NOT_READ: dict[str, tuple[Settings, str]] = {
    "Unigram": ({"model": {"type": "Unigram", "unk_id": 0, "vocab": [["a", -1.0]]}}, "'Unigram'"),
    "WordPiece": ({"model": {"type": "WordPiece", "unk_token": "a", "vocab": {"a": 0}}}, "'WordPiece'"),
    "a possessive quantifier": (split(POSSESSIVE), "expression"),
    "an unknown property": (split(r"\p{Lu}+|\s+"), r"\p in"),
    "a group": (split(r"(?>a+)|\s+"), "group"),
    "an unknown part": ({"pre_tokenizer": {"type": "FixedLength", "length": 5}}, "FixedLength"),
}


def tokenizer(settings: Settings) -> str:
    """The text of a tokenizer.json."""
    told = json.loads(_trained_on_words() if settings.get("words") else _trained_on_bytes())
    if "more" in settings:
        told["added_tokens"].append({"id": len(told["model"]["vocab"]), **settings["more"]})
    return json.dumps(told | {name: settings[name] for name in told if name in settings}, ensure_ascii=False)


def write(folder: Path, settings: Settings) -> Path:
    """What a served folder holds of a tokenizer. The class is one that the runtime goes astray by."""
    folder.mkdir(exist_ok=True)
    write_tokenizer(folder)
    (folder / "tokenizer.json").write_text(text := tokenizer(settings), encoding="utf-8")
    ids = len(json.loads(text)["model"]["vocab"]) if "beyond" in settings else VOCABULARY
    named = json.loads((folder / "tokenizer_config.json").read_text()) | {"tokenizer_class": "LlamaTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(named))
    model = {"type": "qwen2", "vocab_size": ids, "context_length": 512, "decoder": {"filename": "model.onnx"}}
    ends = {"bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 0}
    (folder / "genai_config.json").write_text(json.dumps({"model": model | ends, "search": {}}))
    return folder


@cache
def _trained_on_bytes() -> str:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    return _trained(made, [], pre_tokenizers.ByteLevel.alphabet())


@cache
def _trained_on_words() -> str:
    from tokenizers import Tokenizer, models, pre_tokenizers

    made = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    told = json.loads(_trained(made, [f"<0x{byte:02X}>" for byte in range(256)], []))
    told["added_tokens"] = [one for one in told["added_tokens"] if not one["content"].startswith("<0x")]
    return json.dumps(told)


def _trained(made: Any, first: list[str], alphabet: list[str]) -> str:
    from tokenizers import AddedToken, trainers

    special = [AddedToken(text, special=True, normalized=False) for text in (*MARKS, *first)]
    trainer = trainers.BpeTrainer(
        vocab_size=600, initial_alphabet=alphabet, show_progress=False, special_tokens=special
    )
    made.train_from_iterator(CORPUS, trainer)
    return str(made.to_str())
