"""Run work in processes of its own: two that train together, or one that is killed."""

from __future__ import annotations

import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable

import pytest
import torch
import torch.distributed as dist

from engines import join_processes


def in_a_process_of_its_own(work: Callable[[], object]) -> int:
    """Fork, so that the work can be killed, with one thread, since OpenMP does not survive a fork. Its exit status."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            torch.set_num_threads(1)
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    return os.waitpid(child, 0)[1]


def in_processes(work: Callable[[int], object], count: int = 2) -> None:
    """Fork, join the processes as torchrun would have them, and let each do `work(rank)`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    children = []
    for rank in range(count):
        child = os.fork()
        if child:
            children.append(child)
            continue
        code = 1
        try:
            torch.set_num_threads(1)  # OpenMP does not survive a fork
            group = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "TORCHELASTIC_RUN_ID": "test"}
            # In a SLURM job torchrun is one task, and all its processes see that task's variables.
            group |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "SLURM_JOB_ID": 1, "SLURM_LOCALID": 0}
            os.environ.update({key: str(value) for key, value in group.items()})
            join_processes("cpu")
            assert os.environ["LOCAL_RANK"] == str(rank)
            work(rank)
            dist.destroy_process_group()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * count


def kill() -> None:
    """Kill this process."""
    os.kill(os.getpid(), signal.SIGKILL)


def at_the_nth_rename(number: int) -> Callable[[], None]:
    """Die just before the n-th time that a file is moved into its place."""

    def arrange() -> None:
        plain, count = os.replace, iter(range(1, 10**6))

        def replace(*paths: os.PathLike[str]) -> None:
            if next(count) == number:
                kill()
            plain(*paths)

        os.replace = replace

    return arrange


def in_the_middle_of_the_nth_save(number: int) -> Callable[[], None]:
    """Die with half a file written."""

    def arrange() -> None:
        plain, count = torch.save, iter(range(1, 10**6))

        def save(content: object, part: os.PathLike[str]) -> None:
            plain(content, part)
            if next(count) == number:
                os.truncate(part, os.path.getsize(part) // 2)
                kill()

        torch.save = save

    return arrange


def deaths(renames: tuple[int, ...], saves: tuple[int, ...]) -> list[object]:
    """Ways to die, as parameters of a test: before the n-th rename, and in the middle of the n-th save."""
    return [
        *(pytest.param(at_the_nth_rename(n), id=f"before rename {n}") for n in renames),
        *(pytest.param(in_the_middle_of_the_nth_save(n), id=f"in save {n}") for n in saves),
    ]
