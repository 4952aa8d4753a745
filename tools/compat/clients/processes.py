"""Clients that are programs: one run of a tool, and members of a group as processes."""

import signal
import subprocess
import threading
from collections.abc import Callable

from clients.base import READ_TIMEOUT_S, GroupRun
from support.process import spawn
from support.records import Read
from support.report import Failed


def run_tool(command: list[str], stdin: bytes = b"", timeout_s: float = READ_TIMEOUT_S) -> bytes:
    """Runs a tool to its end and returns its output; any other status than 0 is a failure."""
    process = spawn(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        output, errors = process.communicate(stdin, timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        output, errors = process.communicate()
        raise Failed(f"{command[0]} took more than {timeout_s} s: {errors.decode()[-300:]}") from None
    if process.returncode != 0:
        said = (errors or output).decode(errors="replace")[-400:].strip()
        raise Failed(f"{' '.join(command)[-200:]} ended with {process.returncode}: {said}")
    return output


class ProcessGroup(GroupRun):
    """Each member is a process that prints what it reads and leaves on SIGTERM."""

    def __init__(self, commands: list[list[str]], parse: Callable[[bytes], list[Read]]):
        self._parse = parse
        self._output = [bytearray() for _ in commands]
        self._errors = [bytearray() for _ in commands]
        self._members = [
            spawn(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            for command in commands
        ]
        self._threads = []
        for member, output, errors in zip(self._members, self._output, self._errors):
            for stream, kept in ((member.stdout, output), (member.stderr, errors)):
                thread = threading.Thread(target=_drain, args=(stream, kept), daemon=True)
                thread.start()
                self._threads.append(thread)

    def reads(self) -> list[list[Read]]:
        for member, errors in zip(self._members, self._errors):
            if member.poll() not in (None, 0, 130, 143):
                text = bytes(errors).decode(errors="replace")[-300:]
                raise Failed(f"a member ended with {member.returncode}: {text}")
        return [self._parse(bytes(output)) for output in self._output]

    def stop(self) -> None:
        for member in self._members:
            if member.poll() is None:
                member.send_signal(signal.SIGTERM)
        for member in self._members:
            try:
                member.wait(60)
            except subprocess.TimeoutExpired:
                member.kill()
                raise Failed("a member did not leave within 60 s of SIGTERM") from None
        for thread in self._threads:
            thread.join(10)


def _drain(stream, kept: bytearray) -> None:
    while chunk := stream.read1(65536):
        kept += chunk
