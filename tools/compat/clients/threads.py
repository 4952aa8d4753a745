"""A group run of library clients: one thread per member."""

import threading
from collections.abc import Callable

from clients.base import GroupRun
from support.records import Read
from support.report import Failed

STOP_TIMEOUT_S = 60.0


class ThreadedGroup(GroupRun):
    """Runs `member(keep_going, note)` in a thread each.

    A member reads until `keep_going()` is false, hands each record to `note`, then commits and
    leaves. What it raises is raised again by `reads` and `stop`.
    """

    def __init__(self, member: Callable[[Callable[[], bool], Callable[[Read], None]], None], count: int):
        self._stop = threading.Event()
        self._reads: list[list[Read]] = [[] for _ in range(count)]
        self._errors: list[BaseException] = []
        self._threads = [
            threading.Thread(target=self._run, args=(member, self._reads[i].append), daemon=True)
            for i in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def _run(self, member, note) -> None:
        try:
            member(lambda: not self._stop.is_set(), note)
        except BaseException as error:  # handed to the checking thread
            self._errors.append(error)

    def _raise(self) -> None:
        if self._errors:
            raise Failed(f"a member failed: {self._errors[0]!r}") from self._errors[0]

    def reads(self) -> list[list[Read]]:
        self._raise()
        return [list(reads) for reads in self._reads]

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(STOP_TIMEOUT_S)
            if thread.is_alive():
                raise Failed(f"a member did not leave within {STOP_TIMEOUT_S} s")
        self._raise()
