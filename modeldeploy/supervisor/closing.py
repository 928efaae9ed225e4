"""Closing a listening socket without a reset for anybody who has connected.

The kernel accepts connections for whoever listens, and resets those that nobody has taken when the
last copy of the socket is closed. A filter on the socket that drops each SYN (and with it new
connections, while those that were made are heard) lets the queue run empty first. Who comes in that
moment gets no answer, and when it asks again, a second later, is refused.
"""

from __future__ import annotations

import contextlib
import ctypes
import socket
import struct
import sys

_SO_ATTACH_FILTER, _SO_DETACH_FILTER = 26, 27  # of asm-generic/socket.h
_FLAGS, _SYN = 13, 0x02  # the byte of a TCP header, and the bit in it
# struct sock_filter (linux/filter.h): code, jump if true, jump if false, operand.
_DROP_SYN = b"".join(
    struct.pack("=HBBI", *instruction)
    for instruction in (
        (0x30, 0, 0, _FLAGS),  # load that byte
        (0x45, 0, 1, _SYN),  # is the bit set?
        (0x06, 0, 0, 0),  # drop
        (0x06, 0, 0, 0xFFFFFFFF),  # keep the whole packet
    )
)


def admit_nobody(listener: socket.socket) -> None:
    """From now on nobody can connect to it, whoever has a copy. Only on Linux."""
    if sys.platform != "linux":
        return
    code = ctypes.create_string_buffer(_DROP_SYN, len(_DROP_SYN))
    program = struct.pack("@HP", len(_DROP_SYN) // 8, ctypes.addressof(code))
    with contextlib.suppress(OSError):  # a kernel without filters: as elsewhere
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


def admit_everybody(listener: socket.socket) -> None:
    """Undo that: whoever had it closed died before it was."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # mostly there is nothing to undo
            listener.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
