"""The real worker of Foundry Local, but for models whose template asks for it: those never finish loading."""

import os
import time
from typing import Any

from reconciler.backends.foundry.worker import FoundryWorker
from reconciler.host.child_side import Emit, serve

Json = dict[str, Any]
HANGS = "{# never loads #}"
PIDS = "hung"  # a file beside the catalog: who hung


class HangingWorker(FoundryWorker):
    def open(self, parameters: Json, emit: Emit) -> Json:
        self._home = os.path.dirname(os.path.dirname(parameters["cache_dir"]))
        self._paths: dict[str, str] = {}
        return super().open(parameters, emit)

    def register(self, parameters: Json, emit: Emit) -> Json:
        self._paths[parameters["id"]] = parameters["path"]
        return super().register(parameters, emit)

    def load(self, parameters: Json, emit: Emit) -> Json:
        path = self._paths.get(parameters["id"], "")
        with open(os.path.join(path, "chat_template.jinja"), encoding="utf-8") as file:
            hangs = HANGS in file.read()
        while hangs:
            self._tell()
            time.sleep(3600)
        return super().load(parameters, emit)

    def _tell(self) -> None:
        with open(os.path.join(self._home, PIDS), "a", encoding="utf-8") as file:
            file.write(f"{os.getpid()}\n")


if __name__ == "__main__":
    worker = HangingWorker()
    verbs = ("open", "register", "unregister", "list", "load", "ask", "count", "measure", "decode")
    serve({verb: getattr(worker, verb) for verb in verbs})
    os._exit(0)
