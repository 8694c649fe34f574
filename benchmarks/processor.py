"""What the processor of this machine computes fast."""

from __future__ import annotations

from typing import Final

import torch

FAST_BFLOAT16: Final = torch.backends.cpu.get_cpu_capability() == "AVX512"
"""Whether bfloat16 is fast. Without AVX-512, passes over several tokens take several times as long as with float32."""
