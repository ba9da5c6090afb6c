"""Reads folders of manifests, one path per line on stdin, and says what it thinks of each, one JSON line per folder.

A process of its own, with little memory: a crash, a hang or a flood is seen by the test and harms nothing else.
"""

import json
import os
import sys
import time

from reconciler.reports.text import problems_text
from reconciler.sources.manifests import load

MEMORY = 512 * 1024 * 1024  # address space, with pydantic and jinja2 loaded


def judge(folder: str) -> dict[str, object]:
    os.chdir(folder)
    begin = time.process_time()
    parsed = load("manifests")
    seconds = time.process_time() - begin
    return {
        "seconds": seconds,
        "models": [model.name for model in parsed.models],
        "codes": [problem.code for problem in (*parsed.problems, *parsed.warnings)],
        "lines": [problem.line for problem in parsed.problems],
        "text": problems_text(parsed.problems) + problems_text(parsed.warnings, "warning"),
    }


def main() -> None:
    if sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for line in sys.stdin:
        print(json.dumps(judge(line.rstrip("\n"))), flush=True)


if __name__ == "__main__":
    main()
