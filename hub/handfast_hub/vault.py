"""Secrets at rest: AES-256-GCM under one master key, which lives in a file of its own.

The database holds only sealed secrets, so a copy of it is worth nothing without the master key,
and a backup of the one never contains the other. The additional data names the place where a
sealed value belongs; a value that was moved to another row does not open.
"""

import os
import stat
from collections.abc import Callable
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from handfast.core.errors import KeystoreError

KEY_LENGTH = 32
# A random nonce stands before each ciphertext. SP 800-38D section 8.3 allows 2^32 of them under
# one key; a hub seals two values for an enrolment and one for an epoch step.
NONCE_LENGTH = 12
TAG_LENGTH = 16
_HEADER = "handfast-master-key-1 "


class Vault:
    """Seals and opens with the master key; 28 bytes longer than the plaintext."""

    def __init__(self, master_key: bytes, random: Callable[[int], bytes] = os.urandom) -> None:
        """`master_key` is 32 bytes; `random(n)` gives n unpredictable bytes for the nonces."""
        if len(master_key) != KEY_LENGTH:
            raise KeystoreError(f"a master key has {KEY_LENGTH} bytes, this one has {len(master_key)}")
        self._aead = AESGCM(master_key)
        self._random = random

    def seal(self, plaintext: bytes, aad: bytes) -> bytes:
        """nonce || ciphertext || tag of `plaintext`, bound to `aad`."""
        nonce = self._random(NONCE_LENGTH)
        return nonce + self._aead.encrypt(nonce, plaintext, aad)

    def open(self, sealed: bytes, aad: bytes) -> bytes:
        """The plaintext of `sealed`; KeystoreError when the key or the place is wrong."""
        if len(sealed) < NONCE_LENGTH + TAG_LENGTH:
            raise KeystoreError(f"a sealed secret has at least 28 bytes, this one has {len(sealed)}")
        try:
            return self._aead.decrypt(sealed[:NONCE_LENGTH], sealed[NONCE_LENGTH:], aad)
        except InvalidTag:
            raise KeystoreError(
                "a sealed secret does not open: the master key is not the one that sealed it,"
                " or the database was altered; put the right master key file in place"
            ) from None


def create_master_key(path: Path, random: Callable[[int], bytes] = os.urandom) -> bytes:
    """Make a master key and write it to `path` with mode 0600; KeystoreError when the file exists."""
    key = random(KEY_LENGTH)
    try:
        create_file(path, f"{_HEADER}{key.hex()}\n".encode("ascii"))
    except FileExistsError:
        raise KeystoreError(f"{path} exists already and was left as it is") from None
    except OSError as error:
        raise KeystoreError(f"cannot write {path}: {error.strerror}; see its folder and disk") from None
    return key


def load_master_key(path: Path) -> bytes:
    """Read the master key; KeystoreError when it is missing, damaged or readable by others."""
    try:
        with path.open(encoding="ascii") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(256)
    except FileNotFoundError:
        raise KeystoreError(
            f"there is no master key at {path}; bring it back from where you keep it,"
            " or run 'handfast-hub init' for a new hub"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise KeystoreError(f"cannot read the master key {path}: {error}") from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise KeystoreError(f"{path} may be read by others (mode {mode & 0o777:04o}); run: chmod 600 {path}")
    body = text[len(_HEADER) :].strip()
    try:
        key = bytes.fromhex(body)
    except ValueError:
        key = b""
    if not text.startswith(_HEADER) or len(key) != KEY_LENGTH:
        raise KeystoreError(f"{path} is no master key: expected one line '{_HEADER}' and 64 hex digits")
    return key


def open_vault(path: Path) -> Vault:
    """The vault of the master key in `path`."""
    return Vault(load_master_key(path))


def create_file(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Make the new file `path`, whole or not at all, whatever dies meanwhile; OSError, FileExistsError."""
    part = path.with_name(f".{path.name}.part")
    # Of somebody who was killed here before.
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # Unlike a rename it never replaces what is there.
        path.hardlink_to(part)
    finally:
        part.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make a new name in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
