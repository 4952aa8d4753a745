"""Where setup.sh put things, and the way into its Python environment."""

import os
import sys
from pathlib import Path

COMPAT = Path(__file__).resolve().parent.parent
CACHE = COMPAT / ".cache"
PYTHON = CACHE / "venv" / "bin" / "python"
CLASSPATH = f"{CACHE / 'classes'}:{CACHE / 'jars'}/*"


def enter_venv() -> None:
    """Runs this script again with the suite's own Python unless that is what runs it now.

    Called before a client library is imported, so that a person can start a script with any python3.
    """
    if Path(sys.prefix).resolve() == (CACHE / "venv").resolve():
        return
    if not PYTHON.exists():
        sys.exit("the Python clients are not installed: run tools/compat/setup.sh first")
    os.execv(PYTHON, [str(PYTHON), *sys.argv])


def java(*arguments: str) -> list[str]:
    """The command that runs a class from the jars: a small, quiet JVM that starts fast."""
    return [
        "java",
        "-Xmx256m",
        "-XX:TieredStopAtLevel=1",
        "-XX:+UseSerialGC",
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=off",
        "-cp",
        CLASSPATH,
        *arguments,
    ]
