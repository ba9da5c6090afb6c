"""A program `reconciler` for the PATH of a script: the server of `tests.forked` forks for each call of it, so that the
script is tried without the half second in which Python starts and imports the program."""

import os
import sys
from pathlib import Path

from tests import forked

_PROGRAM = """#!{python} -IS
import array, json, os, select, socket, sys

peer = socket.socket(socket.AF_UNIX)
peer.connect("\\0{server}")
order = {{"arguments": sys.argv[1:], "directory": os.getcwd(), "environment": dict(os.environ)}}


def ask(order, *descriptors):
    data = json.dumps(order).encode()
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))
    peer.sendmsg([len(data).to_bytes(4, "big")], [rights] if descriptors else [])
    peer.sendall(data)
    return int.from_bytes(peer.recv(4, socket.MSG_WAITALL), "big", signed=True)


pid = ask(order, 1, 2)
select.select([os.pidfd_open(pid)], [], [])
sys.exit(ask({{"poll": pid}}))
"""


def forked_program(folder: Path) -> str:
    """A folder to put before others in PATH; in place of nothing where there is no such server."""
    folder.mkdir()
    if hasattr(os, "memfd_create"):
        program = folder / "reconciler"
        program.write_text(_PROGRAM.format(python=sys.executable, server=forked.server_name()))
        program.chmod(0o755)
    return str(folder)
