"""Certificates of tests' own, made by openssl."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest


def pair(folder: Path, name: str = "models.test") -> tuple[Path, Path]:
    """A certificate for ``name``, signed with its own key, and that key."""
    cert, key = folder / f"{name}.crt", folder / f"{name}.key"
    command = (
        *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
        *("-nodes", "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name},DNS:*.{name}"),
        *("-days", "1", "-keyout", str(key), "-out", str(cert)),
    )
    _openssl(folder, *command)
    return cert, key


def expired(folder: Path) -> tuple[Path, Path]:
    """One of another year, and its key."""
    cert, key, request = folder / "old.crt", folder / "old.key", folder / "old.csr"
    own = folder / "ca.cnf"
    own.write_text(
        "[ca]\ndefault_ca = own\n[own]\ndatabase = index.txt\nserial = serial\nnew_certs_dir = .\n"
        "default_md = sha256\npolicy = any\n[any]\ncommonName = supplied\n"
    )
    (folder / "index.txt").touch()
    (folder / "serial").write_text("01")
    new = ("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    sign = ("ca", "-batch", "-notext", "-selfsign", "-config", own, "-keyfile", key)
    when = ("-startdate", "20200101000000Z", "-enddate", "20200102000000Z")
    for command in (
        (*new, "-subj", "/CN=old.test", "-keyout", key, "-out", request),
        (*sign, "-in", request, "-out", cert, *when),
    ):
        _openssl(folder, *command)
    return cert, key


def _openssl(folder: Path, *arguments: Any) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    subprocess.run(("openssl", *arguments), cwd=folder, check=True, capture_output=True)
