"""Digests of files, and keys that stand for identifiers."""

from __future__ import annotations

import hashlib

from .atomic import FilePath

BLOCK = 1 << 20
"""Bytes that are read at a time."""


def digest_of(*files: FilePath) -> str:
    """Return the SHA-256 of the content of files, one after the other, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for file in files:
        with open(file, "rb") as stream:
            while block := stream.read(BLOCK):
                digest.update(block)
    return digest.hexdigest()


def key_of(text: str) -> str:
    """Return a key that stands for an identifier without naming it: the first 16 digits of its SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]
