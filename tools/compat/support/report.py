"""The table of checks and clients, and the closing line."""

import time
import traceback
from collections.abc import Callable


class NotOffered(Exception):
    """The client has no way to do this: not a failure, and shown as a dash."""


class Failed(AssertionError):
    """A check that did not hold, with what was seen."""


class Report:
    """Collects one mark per check and client, in the order in which they came."""

    def __init__(self) -> None:
        self._marks: dict[str, dict[str, str]] = {}
        self._clients: list[str] = []
        self._failures: list[str] = []
        self.passed = 0
        self.failed = 0

    def check(self, client: str, name: str, body: Callable[[], None]) -> bool:
        """Runs one check and notes how it went. True when it passed."""
        if client not in self._clients:
            self._clients.append(client)
        row = self._marks.setdefault(name, {})
        begun = time.monotonic()
        try:
            body()
        except NotOffered as reason:
            row[client] = "-"
            self._line(client, name, f"not offered: {reason}" if str(reason) else "not offered")
            return False
        except Exception as error:
            row[client] = "FAIL"
            self.failed += 1
            text = str(error) if isinstance(error, Failed) else _describe(error)
            self._failures.append(f"{client}: {name}: {text}")
            self._line(client, name, f"FAILED: {text}")
            return False
        row[client] = "ok"
        self.passed += 1
        self._line(client, name, f"ok, {time.monotonic() - begun:.1f} s")
        return True

    @staticmethod
    def _line(client: str, name: str, text: str) -> None:
        print(f"{client:>14}  {name}: {text}", flush=True)

    def table(self) -> str:
        width = max((len(name) for name in self._marks), default=0)
        columns = [max(len(client), 4) for client in self._clients]
        head = " ".join(f"{c:>{w}}" for c, w in zip(self._clients, columns))
        lines = [f"{'':{width}} {head}"]
        for name, row in self._marks.items():
            marks = " ".join(f"{row.get(c, ''):>{w}}" for c, w in zip(self._clients, columns))
            lines.append(f"{name:{width}} {marks}")
        return "\n".join(lines)

    def finish(self) -> int:
        """Prints the table, the failures and the closing line; returns the exit status."""
        print("\n" + self.table())
        if self._failures:
            print("\nfailures:")
            for failure in self._failures:
                print(f"  {failure}")
        print(f"\n{self.passed} passed, {self.failed} failed", flush=True)
        return 1 if self.failed or not self.passed else 0


def _describe(error: Exception) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({last.filename.rsplit('/', 1)[-1]}:{last.lineno})"


class Verdicts:
    """Named promises of one story, each with what broke it."""

    def __init__(self, *names: str):
        self._broken: dict[str, list[str]] = {name: [] for name in names}

    def broken(self, name: str, *reasons: str) -> None:
        """Notes reasons, if any, why the promise of the name does not hold."""
        self._broken.setdefault(name, []).extend(reasons)

    @property
    def all_hold(self) -> bool:
        return not any(self._broken.values())

    def finish(self) -> int:
        """Prints every promise and the closing line; returns the exit status."""
        for name, reasons in self._broken.items():
            print(f"{'FAILED' if reasons else 'ok':>6}  {name}")
            for reason in reasons:
                print(f"        {reason}")
        failed = sum(map(bool, self._broken.values()))
        print(f"{len(self._broken) - failed} passed, {failed} failed", flush=True)
        return 1 if failed else 0
