"""The memory that the C library has handed out."""

from __future__ import annotations

import ctypes


class _MallocInfo(ctypes.Structure):
    """`struct mallinfo2` of glibc, see `man mallinfo2`."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        )
    )


def allocated_bytes() -> int:
    """Return how many bytes of `malloc` are in use, in all threads. 0 if the C library does not tell, as on macOS.

    These are tensors, all objects of Python of more than 512 bytes, and what libraries in C and Rust use. Freed memory
    that the C library keeps for later does not count.
    """
    ask = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if ask is None:
        return 0
    ask.restype = _MallocInfo
    info = ask()
    return int(info.uordblks + info.hblkhd)  # in the heaps, and in mappings of their own
