"""The C API of the onnxruntime-genai that ships with Foundry Local: the runtime that serves, called directly. For the
runtime's worker process only: a crash in the native code ends the process.
"""

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

from reconciler.domain.errors import PermanentError

_LIBRARIES = (".so", ".dll", ".dylib")

Pointer = ctypes.c_void_p
_Ids, _Out, _Text, _Size = ctypes.POINTER(ctypes.c_int32), ctypes.POINTER(Pointer), ctypes.c_char_p, ctypes.c_size_t
_FUNCTIONS: dict[str, tuple[list[Any], Any]] = {
    "OgaResultGetError": ([Pointer], _Text),
    "OgaDestroyResult": ([Pointer], None),
    "OgaCreateTokenizerFromPath": ([_Text, _Out], Pointer),
    "OgaDestroyTokenizer": ([Pointer], None),
    "OgaCreateSequences": ([_Out], Pointer),
    "OgaDestroySequences": ([Pointer], None),
    "OgaTokenizerEncode": ([Pointer, _Text, Pointer], Pointer),
    "OgaSequencesGetSequenceCount": ([Pointer, _Size], _Size),
    "OgaSequencesGetSequenceData": ([Pointer, _Size], _Ids),
    "OgaCreateTokenizerStream": ([Pointer, _Out], Pointer),
    "OgaDestroyTokenizerStream": ([Pointer], None),
    "OgaTokenizerStreamDecode": ([Pointer, ctypes.c_int32, ctypes.POINTER(_Text)], Pointer),
    "OgaTokenizerApplyChatTemplate": ([Pointer, *[_Text] * 3, ctypes.c_bool, _Out], Pointer),
    "OgaDestroyString": ([Pointer], None),
    "OgaCreateConfig": ([_Text, _Out], Pointer),
    "OgaConfigOverlay": ([Pointer, _Text], Pointer),
    "OgaDestroyConfig": ([Pointer], None),
    "OgaCreateModelFromConfig": ([Pointer, _Out], Pointer),
    "OgaDestroyModel": ([Pointer], None),
    "OgaCreateGeneratorParams": ([Pointer, _Out], Pointer),
    "OgaGeneratorParamsSetSearchNumber": ([Pointer, _Text, ctypes.c_double], Pointer),
    "OgaGeneratorParamsSetSearchBool": ([Pointer, _Text, ctypes.c_bool], Pointer),
    "OgaDestroyGeneratorParams": ([Pointer], None),
    "OgaCreateGenerator": ([Pointer, Pointer, _Out], Pointer),
    "OgaGenerator_AppendTokens": ([Pointer, _Ids, _Size], Pointer),
    "OgaGenerator_GenerateNextToken": ([Pointer], Pointer),
    "OgaGenerator_GetLogits": ([Pointer, _Out], Pointer),
    "OgaGenerator_SetLogits": ([Pointer, Pointer], Pointer),
    "OgaGenerator_GetOutput": ([Pointer, _Text, _Out], Pointer),
    "OgaGenerator_GetSequenceCount": ([Pointer, _Size], _Size),
    "OgaGenerator_GetSequenceData": ([Pointer, _Size], _Ids),
    "OgaDestroyGenerator": ([Pointer], None),
    "OgaCreateTensorFromBuffer": ([Pointer, ctypes.POINTER(ctypes.c_int64), _Size, ctypes.c_int, _Out], Pointer),
    "OgaTensorGetType": ([Pointer, ctypes.POINTER(ctypes.c_int)], Pointer),
    "OgaTensorGetShapeRank": ([Pointer, ctypes.POINTER(_Size)], Pointer),
    "OgaTensorGetShape": ([Pointer, ctypes.POINTER(ctypes.c_int64), _Size], Pointer),
    "OgaTensorGetData": ([Pointer, _Out], Pointer),
    "OgaDestroyTensor": ([Pointer], None),
}


class Native:
    """Calls by name. What the runtime refuses is a PermanentError with this code, in the runtime's own words."""

    def __init__(self, code: str) -> None:
        self._code, self._library = code, _library()

    def call(self, function: str, *arguments: Any) -> None:
        failed = getattr(self._library, function)(*arguments)
        if failed:
            message = self._library.OgaResultGetError(failed).decode(errors="replace")
            self._library.OgaDestroyResult(failed)
            raise PermanentError(message, code=self._code)

    def made(self, function: str, *arguments: Any) -> Any:
        """What the function creates: to be destroyed by the caller."""
        made = Pointer()
        self.call(function, *arguments, ctypes.byref(made))
        return made

    def plain(self, function: str) -> Callable[..., Any]:
        """A function that cannot fail."""
        plain: Callable[..., Any] = getattr(self._library, function)
        return plain


@cache
def _library() -> Any:
    """Loaded by the SDK, with what it needs."""
    import foundry_local_sdk

    library = ctypes.CDLL(_of_2() if hasattr(foundry_local_sdk, "ModelInfoBuilder") else _of_1())
    for name, (arguments, result) in _FUNCTIONS.items():
        function = getattr(library, name)
        function.argtypes, function.restype = arguments, result
    return library


def _of_2() -> str:
    from importlib.resources import files

    from foundry_local_sdk import ModelInfoBuilder

    ModelInfoBuilder().close()
    beside = (one for one in (files("onnxruntime_genai_core") / "bin").iterdir() if "onnxruntime-genai" in one.name)
    (path,) = (one for one in beside if one.name.endswith(_LIBRARIES))  # Windows has an import library beside it
    return str(path)


def _of_1() -> str:
    from foundry_local_sdk.detail.core_interop import CoreInterop
    from foundry_local_sdk.detail.utils import get_native_binary_paths

    if CoreInterop._genai_library is None:
        CoreInterop._initialize_native_libraries()
    return str(get_native_binary_paths().genai)
