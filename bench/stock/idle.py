"""When the processes of calls are made: between rounds of calls, never beside a call."""

from __future__ import annotations

from livekit.agents import AgentServer


def tend(server: AgentServer, rooms: int) -> bool:
    """Have used processes replaced once no call is on; to be asked again and again.

    The framework would replace each as soon as its call begins, and load all models beside it. It
    leaves the number alone where the worker has no limit of load. Its health page is ready too early.

    Returns:
        Whether there is no call, and a process waits for every room.
    """
    if server.id == "unregistered":
        return False
    pool = server._proc_pool  # noqa: SLF001
    waiting = pool._warmed_proc_queue.qsize()  # noqa: SLF001
    is_full = waiting >= rooms
    # Also none while all are there: the next call may come before the next look.
    pool.set_target_idle_processes(0 if server.active_jobs or is_full else rooms)
    return is_full and not server.active_jobs
