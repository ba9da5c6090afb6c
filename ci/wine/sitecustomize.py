"""For Wine's Python: what Wine 8 has a name of and no working call, Python does otherwise when it does not find it."""

import _winapi
import sys

sys.modules["_wmi"] = None  # type: ignore[assignment]  # WMI does not answer; the platform module would wait for it twice, a second each
del _winapi.CopyFile2  # type: ignore[attr-defined]  # shutil's copies end the process
