"""Landlock: a process gives up all files but those that it names, for itself and all that it will start. Linux 5.13 and
newer, no privilege and no helper needed. No C library wraps the three calls.

Limits: sockets that lie in the file system can be reached as before, and so can UDP (a network namespace takes both it
and TCP away); TCP is closed from ABI 4 on, abstract sockets and signals to others from ABI 6 on.
"""

import ctypes
import os
import stat
import struct
import sys
from collections.abc import Iterable
from functools import cache

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every architecture but alpha
_VERSION, _PATH_BENEATH = 1, 1
_NO_NEW_PRIVILEGES = 38  # PR_SET_NO_NEW_PRIVS

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 1 << 1, 1 << 2, 1 << 3
_MAKE_CHAR, _MAKE_SOCK, _MAKE_BLOCK = 1 << 6, 1 << 9, 1 << 11
_TRUNCATE = 1 << 14
_RIGHTS_OF_ABI = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}  # how many there are
_TCP = 0b11
_SCOPES = 0b11  # abstract sockets, signals

_READ = _EXECUTE | _READ_FILE | _READ_DIR
_OF_A_FILE = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE
_NEVER = _EXECUTE | _MAKE_CHAR | _MAKE_BLOCK | _MAKE_SOCK  # not even where one may write


@cache
def abi() -> int:
    """0 where there is no Landlock, or where it is switched off."""
    if not sys.platform.startswith("linux"):
        return 0
    version: int = ctypes.CDLL(None).syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint(_VERSION))
    return max(0, version)


def restrict(*, readable: Iterable[str], writable: Iterable[str], devices: Iterable[str] = ()) -> None:
    """From now on only these may be opened, with all below them. What is open stays open. Raises OSError."""
    version = abi()
    handled = (1 << _RIGHTS_OF_ABI.get(version, 16)) - 1
    attributes = struct.pack("=QQQ", handled, _TCP, _SCOPES)
    length = 8 if version < 4 else 16 if version < 6 else 24
    rules = _call(_CREATE_RULESET, attributes[:length], ctypes.c_size_t(length), ctypes.c_uint(0))
    try:
        for paths, rights in ((readable, _READ), (devices, _READ_FILE | _WRITE_FILE), (writable, ~_NEVER)):
            for path in paths:
                _allow(rules, path, rights & handled)
        if ctypes.CDLL(None).prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0):
            raise OSError("the kernel does not let go of privileges")
        _call(_RESTRICT_SELF, ctypes.c_int(rules), ctypes.c_uint(0))
    finally:
        os.close(rules)


def _allow(rules: int, path: str, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:  # nothing to open, nothing to allow
        return
    try:
        is_folder = stat.S_ISDIR(os.fstat(place).st_mode)
        rule = struct.pack("=Qi", rights if is_folder else rights & _OF_A_FILE, place)
        _call(_ADD_RULE, ctypes.c_int(rules), ctypes.c_int(_PATH_BENEATH), rule, ctypes.c_uint(0))
    finally:
        os.close(place)


def _call(number: int, *arguments: object) -> int:
    library = ctypes.CDLL(None, use_errno=True)
    result: int = library.syscall(ctypes.c_long(number), *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), f"Landlock: {os.strerror(ctypes.get_errno())}")
    return result
