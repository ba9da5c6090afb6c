"""A throw-away machine for benchmarks: models, manifests, a root and a Foundry Local cache of its own."""

import json
import shutil
import struct
import sys
from dataclasses import dataclass
from pathlib import Path

from bench.side_by_side import Contender

CAPITALS = Path(__file__).parents[1] / "examples" / "capitals" / "model"
RECONCILER = str(Path(sys.executable).parent / "reconciler")

MANIFEST = """\
apiVersion: reconciler.foundry/v1alpha1
kind: Model
metadata:
  name: {name}
spec:
  source: {{path: ../models/{source}}}
  precisions: [int4]
  promptTemplate: chatml
"""


@dataclass(frozen=True, slots=True)
class World:
    directory: Path

    @property
    def models(self) -> Path:
        return self.directory / "models"

    def declare(self, name: str, source: str) -> None:
        manifests = self.directory / "manifests"
        manifests.mkdir(exist_ok=True)
        (manifests / f"{name}.yaml").write_text(MANIFEST.format(name=name, source=source))

    def reconciler(self, *arguments: str, root: str = "root") -> Contender:
        """One verb against this world; the names of two roots are two machines."""
        return Contender(
            name=f"reconciler {arguments[0]}",
            command=[RECONCILER, *arguments],
            directory=self.directory,
            environment={
                "RECONCILER_ROOT": str(self.directory / root),
                "RECONCILER_CACHE": str(self.directory / root / "foundry-cache"),
            },
        )


def one_source_many_models(directory: Path, count: int) -> World:
    """Many names for one model: what is measured is bookkeeping, not conversion."""
    world = World(directory)
    shutil.copytree(CAPITALS, world.models / "capitals")
    for number in range(count):
        world.declare(f"capitals-{number:03}", "capitals")
    return world


def many_sources(directory: Path, count: int) -> World:
    """As many models with weights of their own, so that nothing is built once and shared."""
    world = World(directory)
    for number in range(count):
        name = f"capitals-{number}"
        shutil.copytree(CAPITALS, world.models / name)
        vary(world.models / name / "model.safetensors", number)
        world.declare(name, name)
    return world


def vary(weights: Path, number: int) -> None:
    """Change one number of the last norm a little: other bytes, the same answers."""
    data = bytearray(weights.read_bytes())
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    position = 8 + length + header["model.norm.weight"]["data_offsets"][0]
    (value,) = struct.unpack_from("<f", data, position)
    struct.pack_into("<f", data, position, value * (1 + number * 1e-5))
    weights.write_bytes(data)
