"""Translates Foundry Local's messages into our errors. Its exceptions carry only text (SDK 2.2.1), so the texts
are matched here and nowhere else."""

import re

from reconciler.domain.errors import CatalogBroken, PermanentError, ReconcilerError, RuntimeUnavailable
from reconciler.domain.text.escape import one_line
from reconciler.host.places import install_command

# A library of the system that the SDK's own ones need is not here: as Windows says it, and as Linux does.
_LACKS_LIBRARY = ("DLL load failed", "cannot open shared object file")
_LIBRARIES = (
    "it is installed, and a library of the system that it needs is not: on Windows Microsoft's C++ library "
    "(winget install Microsoft.VCRedist.2015+.x64), on Debian libatomic1"
)

_LONGEST = 1 << 14  # characters; what follows is never shown
# `file.cc:12 ReturnType Class::Function(arguments) ` in front of a message, once per native layer.
_PREFIX = re.compile(r"\b\w+\.cc:\d+ [^()]*\([^()]*\)(?: const)? ")

# Text, then what it is to us. The first match counts.
_MEANINGS: tuple[tuple[str, type[ReconcilerError], str], ...] = (
    ("failed to write local model registration index", RuntimeUnavailable, "CatalogNotWritable"),
    ("failed to commit local model registration index", RuntimeUnavailable, "CatalogNotWritable"),
    ("FileLock: failed to open", RuntimeUnavailable, "CatalogNotWritable"),
    ("FileLock: timeout", RuntimeUnavailable, "CatalogLocked"),
    ("local model registration index", CatalogBroken, "CatalogBroken"),
    ("invalid local model registration at", CatalogBroken, "CatalogBroken"),
    ("model_id is already registered", PermanentError, "AlreadyRegistered"),
    ("model not found at path", PermanentError, "ServedFolderMissing"),
    ("model not found:", PermanentError, "NotRegistered"),
    ("model_path must", PermanentError, "ServedFolderMissing"),
    ("failed to parse genai_config.json", PermanentError, "GenaiConfigRefused"),
    ("which is not registered. Call DownloadAndRegisterEps", RuntimeUnavailable, "ProviderMissing"),
    ("but the installed GenAI has not been built with", RuntimeUnavailable, "ProviderMissing"),
    ("execution provider is not supported in this build", RuntimeUnavailable, "ProviderMissing"),
    ("failed to create OGA config", PermanentError, "GenaiConfigRefused"),
    ("failed to create preprocessor", PermanentError, "TokenizerRefused"),
    ("External data path", PermanentError, "ModelDoesNotLoad"),
    ("failed to load model", PermanentError, "ModelDoesNotLoad"),
    ("Empty chat template", PermanentError, "TemplateRefused"),
    ("Invalid or unsupported chat template", PermanentError, "TemplateRefused"),
    (" at row ", PermanentError, "TemplateRefused"),  # how the template engine ends each of its messages
    ("maximum context length", PermanentError, "PromptTooLong"),
    ("[AudioDecoder]", PermanentError, "RecordingRefused"),
)


_HINTS = {
    "ProviderMissing": "this machine's Foundry Local does not have what the model is made for: take another variant, "
    "choose the machines by nodeSelector (reconciler.foundry/provider-<name>), or name CUDA's or WebGPU's library "
    "in `providerLibraries` of the machine's configuration"
}
LONGEST_SHOWN = 600  # characters: the runtime names a tensor or a path first and says what is wrong with it at the end


def translate(kind: str, message: str) -> ReconcilerError:
    """`kind` is the exception's type in the worker, or one of our own codes."""
    if kind in {"ModuleNotFoundError", "ImportError", "PackageNotFoundError"}:
        install = f"{install_command('foundry')} puts it into the environment that runs reconciler"
        hint = _LIBRARIES if any(text in message for text in _LACKS_LIBRARY) else install
        return RuntimeUnavailable(f"Foundry Local is missing: {one_line(message)}", code="RuntimeMissing", hint=hint)
    for text, meaning, code in _MEANINGS:
        if text in message:
            # What the runtime would have its application call downloads a library: no advice for who reads this.
            said = plain(message).partition(" Call DownloadAndRegisterEps")[0].removesuffix(".")
            return meaning(said, code=code, hint=_HINTS.get(code, ""))
    return PermanentError(plain(message), code="RuntimeRefused")


def plain(message: str) -> str:
    """One line, without C++ signatures, and without the template text that follows `at row 1, column 57:`. A chat
    template can raise any text it likes."""
    return one_line(_PREFIX.sub("", message[:_LONGEST]).partition(":\n")[0], LONGEST_SHOWN)
