"""Hand the settings of the server to the processes that MONAI Label starts for training and scoring."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class ServerSettings:
    """Settings of a server.

    Args:
        checkpoint: the model file.
        work: folder for temporary files, which ends with the server.
        max_upload_mb: largest body of a request, in MB.
    """

    checkpoint: str
    work: str
    max_upload_mb: float

    @classmethod
    def of(cls, conf: Mapping[str, object]) -> ServerSettings:
        """Read the settings from the configuration of an app of MONAI Label."""
        return cls(str(conf["checkpoint"]), str(conf["work"]), float(str(conf["max_upload_mb"])))

    def environment(self, studies: str) -> dict[str, str]:
        """Return the environment by which MONAI Label finds the app, the studies and these settings.

        Args:
            studies: folder of the studies, or address of an archive.
        """
        return {
            "MONAI_LABEL_APP_DIR": str(HERE),
            "MONAI_LABEL_STUDIES": studies,
            "MONAI_LABEL_APP_CONF": json.dumps(asdict(self)),
            "MONAI_LABEL_SESSION_PATH": str(Path(self.work) / "sessions"),
            "MONAI_LABEL_AUTO_UPDATE_SCORING": "false",  # else each training scores every study
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),  # MONAI Label adds to it
        }
