"""The largest memory that a process has used."""

from __future__ import annotations

from pathlib import Path

_KIB = 1024


def peak_memory() -> int:
    """Return the largest memory that this process has used, in bytes. If it is not known, return the current memory.

    `resource.getrusage` is not used, because it includes the memory of the process that started this one.
    """
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="utf-8").splitlines() if status.exists() else []
    peaks = [int(line.split()[1]) * _KIB for line in lines if line.startswith("VmHWM:")]
    if peaks:
        return peaks[0]
    import psutil  # type: ignore[import-untyped] # noqa: PLC0415 - its import would be measured

    return int(psutil.Process().memory_info().rss)
