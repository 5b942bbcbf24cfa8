"""Following a job's log until it ends."""

import asyncio
import concurrent.futures
import time
from collections.abc import AsyncIterator, Callable

from dualsweep.cluster.errors import ClusterError
from dualsweep.cluster.jobs import Job, status
from dualsweep.cluster.server import reach

LOST_AFTER_S = 60.0
"""Seconds without an answer after which a followed job counts as lost."""

_RETRY_S = 2.0


def follow(job: Job, write: Callable[[str], object] | None = None) -> Job:
    """Hand the job's log to `write` as it grows, from its beginning, and return the job as it ended.

    `write` is given pieces of text with their line ends, not always whole lines; by default they are printed. A connection
    that breaks, as proxies break idle ones, is opened again and nothing is written twice. An interrupt (Ctrl-C) ends the
    following only: the job goes on.

    Raises:
        ClusterError: unknown job, or no contact for `LOST_AFTER_S` seconds.
    """
    tail = _Tail(job)
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(_to_end(tail, write or _print))
    with concurrent.futures.ThreadPoolExecutor(1) as pool:  # a notebook's loop is running: it needs a thread beside it
        return pool.submit(asyncio.run, _to_end(tail, write or _print)).result()


async def _to_end(tail: "_Tail", write: Callable[[str], object]) -> Job:
    # Writing stays outside of what is tried again: a closed pipe is the reader's wish to stop, not a lost server.
    async for piece in tail.pieces():
        write(piece)
    return tail.job


class _Tail:
    """The job as last seen, how much of its log has been handed on, and when the server was last heard of."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self._given = 0
        self._heard = time.monotonic()

    async def pieces(self) -> AsyncIterator[str]:
        """Read, and reconnect, until the job is over and its log is read."""
        import aiohttp

        while True:
            try:
                self.job = await asyncio.to_thread(status, self.job.address, self.job.submission_id)
                self._heard = time.monotonic()
                async for piece in self._connection():
                    yield piece
                if self.job.over:  # it was over before this reading, which therefore has all of it
                    return
            except (OSError, RuntimeError, aiohttp.ClientError, ClusterError) as error:
                self._give_up_if_lost(error)
                await asyncio.sleep(_RETRY_S)

    async def _connection(self) -> AsyncIterator[str]:
        """One connection: the server starts at the log's beginning, so skip what has been handed on."""
        server = await asyncio.to_thread(reach, self.job.address)
        client = await asyncio.to_thread(server.client)
        skip = self._given
        async for piece in client.tail_job_logs(self.job.submission_id):
            self._heard = time.monotonic()
            new = piece[skip:]
            skip = max(0, skip - len(piece))
            if new:
                self._given += len(new)
                yield new

    def _give_up_if_lost(self, error: Exception) -> None:
        if isinstance(error, ClusterError) and "does not exist" in error.received:
            raise error
        if time.monotonic() - self._heard > LOST_AFTER_S:
            raise ClusterError(
                "a followed job's server must stay in reach",
                f"{type(error).__name__} for {LOST_AFTER_S:g} s: {error}",
                "the job may still be running: ask for its status later",
            ) from error


def _print(piece: str) -> None:
    print(piece, end="", flush=True)
