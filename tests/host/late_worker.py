"""A worker with a thread before it leaves the network, as one would that imports numpy first. For test_child."""

import os
import threading

from reconciler.conversion.order import NO_NETWORK
from reconciler.conversion.worker.main import ConversionWorker, work

if __name__ == "__main__":
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    os.environ[NO_NETWORK] = "1"
    ConversionWorker(work).serve()
