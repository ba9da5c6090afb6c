"""What Windows does otherwise than Linux and macOS, under one set of names: `windows` and `posix` each define all of
them, and this package is the one of the two that fits, with each name that has no underscore. No other module asks for
a call that only one of them has; `mypy --platform win32` (in `make test-windows`) says so. What Linux alone has is in
`confine`, `cage` and `processes`.
"""

import sys

if sys.platform == "win32":
    from reconciler.host.system.windows import *  # noqa: F403
else:
    from reconciler.host.system.posix import *  # noqa: F403
