"""`python -m label_app`: a server for the clients of MONAI Label."""

from __future__ import annotations

import importlib.util
import logging
import os
import signal
import socket
import sys
import tempfile
from pathlib import Path

from conventions import InputError, run_command
from export import find_model
from networks import load

from .settings import ServerSettings


def label_app(
    studies: str, checkpoint: str | None = None, host: str = "127.0.0.1", port: int = 8000, max_upload_mb: float = 512
) -> None:
    """Serve a model to the clients of MONAI Label, until the process is ended.

    Everybody who reaches the server may ask it, so it listens to this computer alone unless another host is named.
    Nothing is downloaded.

    Examples:
        python -m label_app --studies FOLDER

    Args:
        studies: folder of studies, or address of an archive that speaks DICOMweb.
        checkpoint: the model file, with model.json next to it; by default the starter weights, or the archive's model.
        host: address to listen on.
        port: port to listen on.
        max_upload_mb: largest request, in MB.
    """
    if importlib.util.find_spec("monailabel") is None:
        raise InputError("MONAI Label is not installed here; `make label` makes an environment that has it")
    model = find_model(checkpoint)
    load(model)  # a server without weights, or with others than its record says, must not start
    remote = studies.startswith(("http://", "https://"))
    if not remote and not Path(studies).is_dir():
        raise InputError(f"{studies}: there is no such folder; give one of studies, or the address of an archive")
    if not isinstance(max_upload_mb, (int, float)) or not max_upload_mb > 0:
        raise InputError(f"--max_upload_mb is a number above 0, got {max_upload_mb}")
    _check_port(host, port)
    logging.getLogger("monailabel").setLevel(logging.WARNING)  # it logs ids and paths
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that films and sessions are taken away
    with tempfile.TemporaryDirectory(prefix="x2ct-label-") as work:
        settings = ServerSettings(os.path.abspath(model), work, float(max_upload_mb))
        os.environ.update(settings.environment(studies.rstrip("/") if remote else os.path.realpath(studies)))
        import uvicorn  # here, where it is known to be installed

        print(f"serving {model} at http://{host}:{port}", flush=True)
        uvicorn.run(
            f"{__package__}.server:app",
            host=host,
            port=port,
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=5,
        )


def _check_port(host: str, port: int) -> None:
    """Refuse an address that cannot be listened on."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except (OSError, OverflowError, TypeError) as error:
        raise InputError(f"{host}:{port} cannot be listened on ({error}); choose another --port") from error


if __name__ == "__main__":
    run_command(label_app, name="label_app")
