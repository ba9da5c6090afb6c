"""Which markers (`<|im_start|>`) a model reads as one token each: the others it would read as plain text.

A tokenizer.json can be 20 MB, so it is only read where a template writes markers that the model's own does not.
"""

import json

from reconciler.sources.folder.guarded_folder import FileRefused, Folder

LARGEST_TOKENIZER = 64 << 20


def special_tokens(folder: Folder) -> frozenset[str] | None:
    """The contents of `added_tokens` in tokenizer.json; None when they cannot be read."""
    try:
        if folder.size("tokenizer.json") > LARGEST_TOKENIZER:
            return None
        with folder.opened("tokenizer.json") as file:
            added = json.loads(file.read(LARGEST_TOKENIZER))["added_tokens"]
        return frozenset(str(token["content"]) for token in added)
    except (FileRefused, OSError, ValueError, LookupError, TypeError, RecursionError):
        return None
