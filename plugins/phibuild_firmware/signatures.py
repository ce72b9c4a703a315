"""Keys and signatures, ed25519 (RFC 8032), through `cryptography`: for workers in the toolchain
`signing`. A private key is read from the user's own file, and never stored or printed."""

from __future__ import annotations

import hashlib
from pathlib import Path

import phiworker
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)


def signing_key(path: Path) -> Ed25519PrivateKey:
    """The key in a PEM file (PKCS#8); WorkerError PHI704 if it is another kind, or encrypted."""
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except TypeError:
        raise phiworker.WorkerError(
            "the signing key is encrypted, and a build cannot ask for its passphrase",
            hint="decrypt it to a file outside the project: openssl pkey -in KEY -out PLAIN",
            code="PHI704",
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise phiworker.WorkerError(
            "the signing key is not a private ed25519 key in PEM",
            hint="make one: openssl genpkey -algorithm ed25519 -out model.pem",
            code="PHI704",
        )
    return key


def public_key(path: Path) -> Ed25519PublicKey:
    """The key in a PEM file; WorkerError PHI704 if it is another kind, or a private one."""
    try:
        key = load_pem_public_key(path.read_bytes())
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise phiworker.WorkerError(
            "the public key is not a public ed25519 key in PEM",
            hint="make it from the signing key: openssl pkey -in KEY -pubout -out PUBLIC",
            code="PHI704",
        )
    return key


def raw(key: Ed25519PublicKey) -> bytes:
    """The 32 bytes of RFC 8032."""
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def key_id(key: Ed25519PublicKey) -> bytes:
    """The name of a key in a descriptor."""
    return hashlib.sha256(raw(key)).digest()


def is_good(key: Ed25519PublicKey, signature: bytes, message: bytes) -> bool:
    """Whether this key signed the message."""
    try:
        key.verify(signature, message)
    except InvalidSignature:
        return False
    return True
