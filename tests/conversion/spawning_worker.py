"""The lying worker where no process can be forked: each of its jobs is a new interpreter."""

from reconciler.conversion.worker.main import ConversionWorker
from tests.conversion.lying_worker import lie

if __name__ == "__main__":
    ConversionWorker(lie, needs_tools=False, forks=False).serve()
