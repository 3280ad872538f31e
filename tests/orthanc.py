"""A real archive for the tests: Orthanc with its DICOMweb plugin, on loopback, with a password."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import requests

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
USER, PASSWORD = "worklist", "Sesam-öffne-dich-7391"

FILTER = """
function ReceivedInstanceFilter(dicom, origin, info)
  local flag = io.open("{flag}")
  if flag == nil then return true end
  flag:close()
  return tonumber(dicom.InstanceNumber) == nil or tonumber(dicom.InstanceNumber) < 6
end
"""
"""Script of Orthanc that takes the first five images of a series alone, while a file is there."""


class Orthanc:
    """Orthanc in a folder of its own; while its file `full` is there, it takes five images of a series alone.

    Args:
        folder: takes its configuration, its database and its log.
    """

    def __init__(self, folder: Path) -> None:
        self.program = shutil.which("Orthanc", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
        if self.program is None or not PLUGIN.is_file():
            pytest.skip("Orthanc and its DICOMweb plugin are not installed (Debian: orthanc orthanc-dicomweb)")
        self.folder = folder
        self.full = folder / "full"
        self.port = free_port()
        self.root = f"http://127.0.0.1:{self.port}"
        self.url = f"{self.root}/dicom-web"
        self.session = requests.Session()
        self.session.auth = (USER.encode(), PASSWORD.encode())
        self.session.trust_env = False
        self.process: subprocess.Popen[bytes] | None = None
        settings = {
            "Name": "tests",
            "StorageDirectory": str(folder / "images"),
            "IndexDirectory": str(folder / "images"),
            "HttpPort": self.port,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": True,
            "RegisteredUsers": {USER: PASSWORD},
            "DicomServerEnabled": False,
            "Plugins": [str(PLUGIN)],
            "LuaScripts": [str(folder / "filter.lua")],
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        }
        (folder / "filter.lua").write_text(FILTER.format(flag=self.full), encoding="utf-8")
        (folder / "orthanc.json").write_text(json.dumps(settings), encoding="utf-8")

    def start(self) -> None:
        """Start it and wait until it answers."""
        with (self.folder / "orthanc.log").open("ab") as log:
            words = [str(self.program), str(self.folder / "orthanc.json")]
            self.process = subprocess.Popen(words, stdout=log, stderr=log)
        for _ in range(200):
            try:
                if self.session.get(f"{self.root}/system", timeout=1).ok:
                    return
            except requests.ConnectionError:
                time.sleep(0.05)
        raise AssertionError((self.folder / "orthanc.log").read_text()[-3000:])

    def stop(self) -> None:
        """End it; what it holds stays."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(20)
            self.process = None

    def ask(self, method: str, path: str, **options: Any) -> Any:
        """Ask its own interface, which is none of DICOMweb's, and return the JSON of the answer."""
        answer = self.session.request(method, self.root + path, timeout=20, **options)
        answer.raise_for_status()
        return answer.json()

    def empty(self) -> None:
        """Delete all that it holds."""
        for study in self.ask("GET", "/studies"):
            self.ask("DELETE", f"/studies/{study}")

    def delete_image(self, uid: str) -> None:
        """Delete an image by its SOPInstanceUID."""
        [found] = self.ask("POST", "/tools/lookup", data=uid)
        self.ask("DELETE", found["Path"])

    def images(self, kind: str | None = None) -> list[dict[str, Any]]:
        """Return the images that it holds, of one modality where one is named."""
        query = {"Modality": kind} if kind else {}
        asked = {"Level": "Instance", "Query": query, "Expand": True}
        return self.ask("POST", "/tools/find", json=asked)


def free_port() -> int:
    """Return a port of loopback that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
