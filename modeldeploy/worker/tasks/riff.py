"""What the header of a WAV file promises, which libsndfile does not tell: it reads what is there.

The format is that of Microsoft's "Multimedia Programming Interface and Data Specifications 1.0";
RF64 (EBU Tech 3306) has sizes of 64 bits in a chunk of its own.
"""

from __future__ import annotations

import struct

# Who writes to a pipe cannot know the size, and writes one of these, or nearly.
_UNKNOWN = 0x7F000000
_ORDERS = {b"RIFF": "<", b"RF64": "<", b"RIFX": ">"}


def missing_frames(raw: bytes) -> int:
    """How many frames are promised and not there; 0 where nothing is promised."""
    order = _ORDERS.get(raw[:4])
    if order is None or raw[8:12] != b"WAVE":
        return 0
    at, frame, large = 12, 1, None
    while at + 8 <= len(raw):
        name, (size,) = raw[at : at + 4], struct.unpack(f"{order}I", raw[at + 4 : at + 8])
        at += 8
        if name == b"fmt " and at + 14 <= len(raw):
            frame = max(1, struct.unpack(f"{order}H", raw[at + 12 : at + 14])[0])
        elif name == b"ds64" and at + 16 <= len(raw):
            large = struct.unpack(f"{order}Q", raw[at + 8 : at + 16])[0]
        elif name == b"data":
            promised = (size if size < _UNKNOWN else large) or 0
            return promised // frame - min(promised, len(raw) - at) // frame
        at += size + size % 2
    return 0
