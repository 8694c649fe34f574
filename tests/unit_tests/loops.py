"""Waiting until an event loop has no more tasks."""

from __future__ import annotations

import asyncio
import gc


async def wait_for_tasks() -> None:
    """Wait until no other task is left.

    Generators that are no longer referenced are collected first. The loop closes them in tasks.
    """
    while True:
        gc.collect()
        await asyncio.sleep(0)  # lets the loop start the scheduled tasks
        others = asyncio.all_tasks() - {asyncio.current_task()}
        if not others:
            return
        await asyncio.wait(others)
