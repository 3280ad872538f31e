# Folder of studies in, folder of synthetic DICOM series out: docs/clinic.md.
#   CPU:   docker build -t x2ct .
#   CUDA:  docker build -t x2ct --build-arg BASE=nvidia/cuda:12.8.1-base-ubuntu24.04 --build-arg TORCH_INDEX=https://pypi.org/simple .
ARG BASE=python:3.11-slim-bookworm
FROM ${BASE}
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
SHELL ["/bin/sh", "-euc"]

# Bases of CUDA hold no Python; theirs must be 3.11 or 3.12.
RUN command -v python3 >/dev/null \
    || (apt-get update && apt-get install --yes --no-install-recommends python3 python3-venv \
        && rm -rf /var/lib/apt/lists/*)

WORKDIR /opt/x2ct
COPY . .
RUN python3 -m venv .venv \
    && .venv/bin/python -m pip install --no-cache-dir --extra-index-url "${TORCH_INDEX}" \
        --constraint constraints.txt --editable ".[bundle,films]"
RUN .venv/bin/python -m export studies -- --help >/dev/null

# No root; the user of the run may be given by --user, so nothing is written but the output.
RUN mkdir -p /in /out && chmod 0777 /out
USER 10001:10001
ENV HOME=/tmp MPLCONFIGDIR=/tmp PYTHONDONTWRITEBYTECODE=1 NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
ENTRYPOINT ["/opt/x2ct/.venv/bin/python", "-m", "export", "studies"]
CMD ["/in", "/out", "--watch"]
