"""Certificates of tests' own, made by openssl."""

from __future__ import annotations

import subprocess
from pathlib import Path


def pair(folder: Path, name: str = "models.test") -> tuple[Path, Path]:
    """A certificate for ``name``, signed with its own key, and that key."""
    cert, key = folder / f"{name}.crt", folder / f"{name}.key"
    command = (
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
        *("-nodes", "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name},DNS:*.{name}"),
        *("-days", "1", "-keyout", str(key), "-out", str(cert)),
    )
    subprocess.run(command, check=True, capture_output=True)
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
        subprocess.run(("openssl", *command), cwd=folder, check=True, capture_output=True)
    return cert, key
