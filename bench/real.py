"""Models of real size at each precision: what `apply` costs beside Olive alone with the configuration of `explain`.

    python -m bench.real [--sizes 0.5b,1.5b,3b] [--precisions int4,int8,fp16]     an hour; writes docs/real-models.md

Every run is added to bench/results/real.json at once, so it can be done in parts. Needs Linux (shared memory of a tree
of processes is counted once), 12 GB of disk, and the memory that the page names.
"""

import argparse
import contextlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from bench.real_models import SHAPES, write_model
from bench.real_page import page
from bench.world import MANIFEST, RECONCILER
from reconciler.conversion.worker.running import Progress
from reconciler.host import processes
from reconciler.host.disk_usage import bytes_below

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "bench" / "results" / "real.json"
PAGE = ROOT / "docs" / "real-models.md"
DECODED = 300  # tokens
EVERY = 0.2  # seconds between two looks at the processes
ALONE = 7  # times its source: what Olive alone was measured to hold at int4 (0.5 B)
MOST = 0.75  # of the machine's memory: what takes more is ended, before the system ends something else


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default=",".join(SHAPES))
    parser.add_argument("--precisions", default="int4,int8,fp16")
    parser.add_argument("--folder", help="for the models (default: where temporary files are); models there are kept")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="reconciler-real-", dir=arguments.folder) as directory:
        for size in arguments.sizes.split(","):
            model = Path(arguments.folder or directory) / size
            if not model.exists():
                print(f"{size}: writing the model", flush=True)
                write_model(model, SHAPES[size])
            for precision in arguments.precisions.split(","):
                row = measure(Path(directory, f"{size}-{precision}"), model, size, precision)
                keep(row)
                shutil.rmtree(Path(directory, f"{size}-{precision}"))


def measure(directory: Path, model: Path, size: str, precision: str) -> dict[str, Any]:
    """One row of the page: the same model by Olive alone, then by `apply`, then served."""
    name = f"real-{precision}"
    (directory / "manifests").mkdir(parents=True)
    (directory / "models").mkdir()
    (directory / "models" / "real").symlink_to(model)
    manifest = MANIFEST.format(name="real", source="real").replace("int4", precision)
    (directory / "manifests" / "real.yaml").write_text(manifest)
    verb = ["--root", "root", "--cache", "root/foundry-cache", "--source-root", str(model.parent)]
    row: dict[str, Any] = {
        "size": size,
        "precision": precision,
        "source": bytes_below(str(model)),
        "machine": machine(),
    }

    if ALONE * row["source"] < MOST * psutil.virtual_memory().total:
        row["olive"] = olive_alone([RECONCILER, "explain", name, *verb, "-o", "json"], directory, model)
    root = directory / "root"
    row["apply"] = watched([RECONCILER, "apply", *verb], directory, model, root)
    if not row["apply"]["code"]:
        bench = [RECONCILER, "bench", name, *verb, "--runs", "1", "--prompt-lengths", "32,512", "-o", "json"]
        told = subprocess.run(bench, cwd=directory, capture_output=True, check=True)
        row["bench"] = json.loads(told.stdout)["variants"][0]
        row["decoding"] = decoded(directory, verb, manifest)
    return row


def decoded(directory: Path, verb: list[str], manifest: str) -> str:
    """What the gate says of a text of DECODED tokens, which the budget would not allow. Nothing is built for it."""
    gates = f"  gates:\n    - decoding: {{tokens: {DECODED}}}\n"
    (directory / "manifests" / "real.yaml").write_text(manifest + gates)
    subprocess.run([RECONCILER, "apply", *verb], cwd=directory, capture_output=True, check=True)
    status = subprocess.run(
        [RECONCILER, "status", *verb[:4], "-o", "json"], cwd=directory, capture_output=True, check=True
    )
    (variant,) = json.loads(status.stdout)["variants"]
    return next(str(one["message"]) for one in variant["gates"] if one["gate"] == "decoding")


def olive_alone(explain: list[str], directory: Path, model: Path) -> dict[str, Any]:
    explained = subprocess.run(explain, cwd=directory, capture_output=True, check=True)
    olive = directory / "olive"
    olive.mkdir()
    config = json.loads(explained.stdout)["variants"][0]["olive"]
    (olive / "config.json").write_text(json.dumps(config | {"cache_dir": "cache"}))
    command = [str(Path(sys.executable).parent / "olive"), "run", "--config", "config.json"]
    found = watched(command, olive, model, olive)
    shutil.rmtree(olive)
    return found


def watched(command: list[str], directory: Path, model: Path, grows: Path) -> dict[str, Any]:
    """Its exit code (negative where it was ended), seconds, CPU seconds with all children, peak memory (also by phase)
    and most disk, in bytes, and what was held back and why."""
    print(f"{' '.join(command[:3])} in {directory.name}", flush=True)
    before = os.times()
    began = time.monotonic()
    phases: dict[str, int] = {}
    disk = 0
    output = directory / "output.txt"
    with output.open("wb") as file:
        process = subprocess.Popen(command, cwd=directory, stdout=file, stderr=subprocess.STDOUT)
        while process.poll() is None:
            phase = phase_of(directory, output, model)
            phases[phase] = max(phases.get(phase, 0), now := tree_bytes(process.pid))
            if now > MOST * psutil.virtual_memory().total:
                processes.end(process.pid)
            disk = max(disk, bytes_below(str(grows)))
            time.sleep(EVERY)
    after = os.times()
    lines = output.read_text(errors="replace").splitlines()
    if process.returncode:
        print(*lines[-20:], sep="\n", flush=True)
    return {
        "code": process.returncode,
        "seconds": time.monotonic() - began,
        "cpu": after.children_user + after.children_system - before.children_user - before.children_system,
        "memory": max(phases.values()),
        "phases": phases,
        "disk": disk,
        "held": next((line for line in lines if line.startswith("! ")), ""),
    }


def phase_of(directory: Path, output: Path, model: Path) -> str:
    """What the converter printed last. `apply` keeps that in its newest log."""
    logs = sorted((directory / "root" / "logs").glob("convert-*.log"))
    progress = Progress(str(model))
    progress.read((logs[-1] if logs else output).read_bytes() + b"\n")
    return "reading layers" if progress.text.startswith("layer ") else progress.text


def tree_bytes(pid: int) -> int:
    """What is shared counts once."""
    found = 0
    for one in (pid, *processes.descendants(pid)):
        with contextlib.suppress(psutil.Error, OSError):  # it has ended meanwhile
            found += psutil.Process(one).memory_full_info().pss
    return found


def machine() -> dict[str, Any]:
    return {
        "cores": os.cpu_count(),
        "memory": psutil.virtual_memory().total,
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "load": round(os.getloadavg()[0], 1),
        "date": time.strftime("%Y-%m-%d"),
    }


def keep(row: dict[str, Any]) -> None:
    RESULTS.parent.mkdir(exist_ok=True)
    rows = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    same = ("size", "precision")
    rows = [one for one in rows if [one[key] for key in same] != [row[key] for key in same]] + [row]
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
    PAGE.write_text(page(rows))


if __name__ == "__main__":
    main()
