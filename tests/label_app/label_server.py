"""A server of the app in a process of its own, on loopback, and a tiny model for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import requests

from tests.orthanc import free_port


class LabelServer:
    """Server on an archive, started as its users start it.

    Args:
        archive: folder that `export archive` made.
        folder: takes the log, and the server's temporary files.
        studies: folder of studies, or address of an archive of images.
        options: further options of the command.
        environment: further variables of the environment.
    """

    def __init__(
        self, archive: Path, folder: Path, studies: Any, *options: str, environment: Mapping[str, str] | None = None
    ) -> None:
        self.archive, self.studies, self.options = archive, studies, options
        self.log, self.temporary = folder / "server.log", folder / "temporary"
        self.temporary.mkdir(exist_ok=True)
        clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        self.environment = {**clean, "TMPDIR": str(self.temporary), "OMP_NUM_THREADS": "1", **(environment or {})}
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> LabelServer:
        """Start it and wait until it answers."""
        words = [sys.executable, "-m", "x2ct.label_app", "--studies", self.studies, "--port", self.port, *self.options]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [str(word) for word in words], cwd=self.archive, env=self.environment, stdout=log, stderr=log
            )
        begun = time.monotonic()
        while time.monotonic() - begun < 240:
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            try:
                if requests.get(f"{self.url}/openapi.json", timeout=5).ok:
                    return self
            except requests.RequestException:
                time.sleep(0.2)
        raise AssertionError(self.log.read_text()[-3000:])

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it by a signal."""
        assert self.process is not None
        self.process.send_signal(number)
        self.process.wait(120)

    def workers(self) -> list[psutil.Process]:
        """Return the processes that predict."""
        assert self.process is not None
        children = psutil.Process(self.process.pid).children(recursive=True)
        return [child for child in children if "spawn_main" in " ".join(child.cmdline())]

    def infer(self, output: str = "image", model: str = "x2ct", **options: Any) -> requests.Response:
        """Ask for a CT; keywords that name no option of requests become the query."""
        known = {key: options.pop(key) for key in ("data", "files", "timeout") if key in options}
        query = {"output": output, **options}
        return requests.post(f"{self.url}/infer/{model}", params=query, **{"timeout": 300, **known})


def score_studies(server: LabelServer) -> None:
    """Have all studies scored, and wait until that is done."""
    assert requests.post(f"{server.url}/scoring/reprojection").status_code == 200
    for _ in range(600):
        state = requests.get(f"{server.url}/scoring/").json()
        if state["status"] in ("DONE", "ERROR"):
            break
        time.sleep(0.5)
    assert state["status"] == "DONE", state
