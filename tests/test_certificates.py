from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from modeldeploy import certificates
from modeldeploy.errors import InvalidCertificate
from tests.certificates import expired, pair


def test_a_good_pair_tells_its_names_and_its_end(tmp_path: Path) -> None:
    found = certificates.examine(*map(str, pair(tmp_path)))
    assert found.names == {"models.test"}
    assert 0 < found.expires - time.time() <= 86400


def _missing(folder: Path) -> tuple[Path, Path]:
    return folder / "no.crt", pair(folder)[1]


def _strangers(folder: Path) -> tuple[Path, Path]:
    return pair(folder, "a.test")[0], pair(folder, "b.test")[1]


def _locked(folder: Path) -> tuple[Path, Path]:
    cert, key = pair(folder)
    locked = folder / "locked.key"
    command = ("openssl", "ec", "-aes128", "-passout", "pass:x", "-in", str(key))
    subprocess.run([*command, "-out", str(locked)], check=True, capture_output=True)
    return cert, locked


def _swapped(folder: Path) -> tuple[Path, Path]:
    cert, key = pair(folder)
    return key, cert


def _junk(folder: Path) -> tuple[Path, Path]:
    cert, key = pair(folder)
    cert.write_bytes(b"\xff" * 100)
    return cert, key


def _pipe(folder: Path) -> tuple[Path, Path]:
    cert, _ = pair(folder)
    os.mkfifo(folder / "pipe")
    return cert, folder / "pipe"


def _endless(folder: Path) -> tuple[Path, Path]:
    return Path("/dev/zero"), pair(folder)[1]


def _no_path(folder: Path) -> tuple[Path, Path]:
    return Path("a\0b"), pair(folder)[1]


def _huge(folder: Path) -> tuple[Path, Path]:
    cert, key = pair(folder)
    os.truncate(cert, 2**31)
    return cert, key


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (_pipe, "it is no file"),
        (_endless, "it is no file"),
        (_no_path, "cannot be read"),
        (_huge, "2,147,483,648 bytes"),
        (_missing, "cannot be read"),
        (_strangers, "not a pair"),
        (expired, "has expired"),
        (_locked, "passphrase"),
        (_swapped, "in PEM"),
        (_junk, "in PEM"),
    ],
)
def test_a_bad_one_is_refused_and_it_is_said_why(
    tmp_path: Path, harm: Callable[[Path], tuple[Path, Path]], says: str
) -> None:
    with pytest.raises(InvalidCertificate, match=says):
        certificates.examine(*map(str, harm(tmp_path)))
