"""An event loop that comes to rest."""

from __future__ import annotations

import asyncio
import gc


async def at_rest() -> None:
    """Wait until no other task is left. What nobody holds any more is closed first, by tasks of the loop."""
    while True:
        gc.collect()
        await asyncio.sleep(0)  # the loop begins the tasks that it was asked for
        others = asyncio.all_tasks() - {asyncio.current_task()}
        if not others:
            return
        await asyncio.wait(others)
