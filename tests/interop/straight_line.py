"""The onboarding of docs/protocol.md once more, in a straight line and with nothing of the product.

Third-party libraries only (cbor2, kyber-py, dilithium-py, PyCryptodome's KMAC, the AEADs and X25519
of cryptography), no states, no checks, no speed: both roles at once, from the inputs of a vector file
to all its values. It made the files tests/vectors/handshake/onboarding_*.txt, and a test makes them again.
"""

import hashlib
import hmac

import cbor2
from Crypto.Hash import KMAC256
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM
from dilithium_py.ml_dsa import ML_DSA_44, ML_DSA_65, ML_DSA_87
from kyber_py.ml_kem import ML_KEM_512, ML_KEM_768, ML_KEM_1024

# ML-KEM, whether X25519 is beside it, ML-DSA, its COSE number, hash, AEAD, lengths of key and nonce.
SUITES = {
    -21: (ML_KEM_768, True, ML_DSA_65, -49, "shake256", AESCCM, 32, 13),
    -22: (ML_KEM_768, False, ML_DSA_65, -49, "shake256", AESCCM, 32, 13),
    -23: (ML_KEM_1024, False, ML_DSA_87, -50, "sha384", AESGCM, 32, 12),
    -24: (ML_KEM_512, False, ML_DSA_44, -48, "shake256", AESCCM, 16, 13),
}
HASH_LENGTH = {"shake256": 64, "sha384": 48}


def item(value: object) -> bytes:
    """One CBOR item. cbor2 orders maps as RFC 7049 does; for keys of one byte that is RFC 8949's order."""
    return cbor2.dumps(value, canonical=True)


def sequence(*values: object) -> bytes:
    return b"".join([item(value) for value in values])


def kmac(key: bytes, data: bytes, length: int, custom: bytes = b"") -> bytes:
    return KMAC256.new(key=key, data=data, mac_len=length, custom=custom).digest()


def xwing_keys(seed: bytes) -> tuple[bytes, X25519PrivateKey]:
    expanded = hashlib.shake_256(seed).digest(96)
    ek, _ = ML_KEM_768._keygen_internal(expanded[:32], expanded[32:64])
    return ek, X25519PrivateKey.from_private_bytes(expanded[64:])


def kem_public_key(number: int, seed: bytes) -> bytes:
    kem, hybrid = SUITES[number][:2]
    if hybrid:
        ek, scalar = xwing_keys(seed)
        return ek + scalar.public_key().public_bytes_raw()
    ek, _ = kem._keygen_internal(seed[:32], seed[32:])
    return bytes(ek)


def encapsulate(number: int, public_key: bytes, randomness: bytes) -> tuple[bytes, bytes]:
    """(shared secret, ciphertext)."""
    kem, hybrid = SUITES[number][:2]
    if not hybrid:
        return kem._encaps_internal(public_key, randomness)
    secret, ciphertext = kem._encaps_internal(public_key[:-32], randomness[:32])
    scalar = X25519PrivateKey.from_private_bytes(randomness[32:])
    ct_x, pk_x = scalar.public_key().public_bytes_raw(), public_key[-32:]
    ss_x = scalar.exchange(X25519PublicKey.from_public_bytes(pk_x))
    return hashlib.sha3_256(secret + ss_x + ct_x + pk_x + b"\\.//^\\").digest(), ciphertext + ct_x


class Party:
    """Who signs: the key of a seed, its CCS and what names it."""

    def __init__(self, number: int, seed: bytes, subject: str) -> None:
        self.dsa, self.algorithm = SUITES[number][2:4]
        public_key, self.secret_key = self.dsa._keygen_internal(seed)
        key = {1: 7, 3: self.algorithm, -1: public_key}
        self.thumbprint = hashlib.sha256(item(key)).digest()
        self.kid = self.thumbprint[:8]
        self.ccs = {2: subject, 8: {1: {**key, 2: self.kid}}}
        self.cred = item(self.ccs)

    def id_cred(self, by_kid: bool) -> tuple[bytes, object]:
        """As in a MAC, and as in a plaintext."""
        return (item({4: self.kid}), self.kid) if by_kid else (item({14: self.ccs}), {14: self.ccs})

    def sign(self, message: bytes, randomness: bytes) -> bytes:
        # The empty context of FIPS 204 algorithm 2.
        return bytes(self.dsa._sign_internal(self.secret_key, b"\x00\x00" + message, randomness))


class Schedule:
    """Section 4 of RFC 9528 for one suite."""

    def __init__(self, number: int) -> None:
        self.hash_name, self.aead, self.key_length, self.nonce_length = SUITES[number][4:]
        self.length = HASH_LENGTH[self.hash_name]

    def hash(self, data: bytes) -> bytes:
        return hashlib.sha384(data).digest() if self.length == 48 else hashlib.shake_256(data).digest(64)

    def extract(self, salt: bytes, ikm: bytes) -> bytes:
        return hmac.digest(salt, ikm, "sha384") if self.length == 48 else kmac(salt, ikm, 64)

    def expand(self, prk: bytes, label: int, context: bytes, length: int) -> bytes:
        info = sequence(label, context, length)
        if self.length == 64:
            return kmac(prk, info, length)
        blocks = [b""]
        for counter in range(1, -(-length // 48) + 1):
            blocks.append(hmac.digest(prk, blocks[-1] + info + bytes([counter]), "sha384"))
        return b"".join(blocks)[:length]

    def seal(self, key: bytes, nonce: bytes, th: bytes, plaintext: bytes) -> bytes:
        return self.aead(key).encrypt(nonce, plaintext, item(["Encrypt0", b"", th]))


def onboarding(given: dict[str, bytes]) -> dict[str, bytes]:
    """Every value of an onboarding; the names are those of the vector files."""
    suites_i = [int(number) for number in given["suites_i"].split()]
    number = suites_i[-1]
    schedule = Schedule(number)
    hash_length, expand = schedule.length, schedule.expand
    hub = Party(number, given["hub_seed"], given["hub_subject"].decode())
    device = Party(number, given["device_seed"], given["device_subject"].decode())
    token = given.get("token_id")
    values = {"hub_id": hub.thumbprint, "dev_tp": device.thumbprint}

    g_x = kem_public_key(number, given["kem_seed"])
    bare = sequence(0, suites_i[0] if len(suites_i) == 1 else suites_i, g_x, given["c_i"])
    hub_by_kid = given["hub_by"] == b"kid"
    gate_key = hub.thumbprint if token is None else kmac(given["k_tok"], token, 32, b"handfast/1 gate-key")
    gate = [
        1,
        int(token is not None),
        int(not hub_by_kid),
        kmac(gate_key, bare, 16, b"handfast/1 gate"),
        token,
    ]
    message_1 = bare + sequence(65280, item(gate))
    values["frame_1"] = item(True) + message_1

    values["g_xy"], g_y = encapsulate(number, g_x, given["kem_randomness"])
    th_2 = values["th_2"] = schedule.hash(sequence(g_y, schedule.hash(message_1)))
    prk = values["prk_2e"] = schedule.extract(th_2, values["g_xy"])
    id_cred_r, field_r = hub.id_cred(hub_by_kid)
    context_2 = item(given["c_r"]) + id_cred_r + item(th_2) + hub.cred
    mac_2 = values["mac_2"] = expand(prk, 2, context_2, hash_length)
    signature = hub.sign(
        item(["Signature1", id_cred_r, item(th_2) + hub.cred, mac_2]), given["sign_randomness_2"]
    )
    plaintext_2 = values["plaintext_2"] = sequence(given["c_r"], field_r, signature)
    keystream_2 = expand(prk, 0, th_2, len(plaintext_2))
    ciphertext_2 = bytes([a ^ b for a, b in zip(plaintext_2, keystream_2, strict=True)])
    values["frame_2"] = sequence(given["c_i"], g_y + ciphertext_2)

    th_3 = values["th_3"] = schedule.hash(item(th_2) + plaintext_2 + hub.cred)
    ead_3 = b""
    if token is not None:
        values["pop"] = kmac(given["k_tok"], th_3, 32, b"handfast/1 pop")
        ead_3 += sequence(-65281, item([1, token, values["pop"]]))
    if "devinfo" in given:
        ead_3 += sequence(65282, given["devinfo"])
    ead_3 += sequence(-65283, item([1, given["attempt"], given.get("have"), given["r_d"]]))
    id_cred_i, field_i = device.id_cred(given["device_by"] == b"kid")
    mac_3 = values["mac_3"] = expand(prk, 6, id_cred_i + item(th_3) + device.cred + ead_3, hash_length)
    signature = device.sign(
        item(["Signature1", id_cred_i, item(th_3) + device.cred + ead_3, mac_3]), given["sign_randomness_3"]
    )
    plaintext_3 = values["plaintext_3"] = sequence(field_i, signature) + ead_3
    k_3 = values["k_3"] = expand(prk, 3, th_3, schedule.key_length)
    iv_3 = values["iv_3"] = expand(prk, 4, th_3, schedule.nonce_length)
    values["frame_3"] = sequence(given["c_r"], schedule.seal(k_3, iv_3, th_3, plaintext_3))

    th_4 = values["th_4"] = schedule.hash(item(th_3) + plaintext_3 + device.cred)
    k_4 = values["k_4"] = expand(prk, 8, th_4, schedule.key_length)
    iv_4 = values["iv_4"] = expand(prk, 9, th_4, schedule.nonce_length)
    if "status" in given:
        ead_4 = sequence(-65287, item([1, int(given["status"]), int(given["retry_after"])]))
    else:
        epoch = int(given["epoch"])
        ead_4 = sequence(-65284, item([1, given["attempt"], given["r_h"], given["device_id"], epoch, {}]))
        prk_out = values["prk_out"] = expand(prk, 7, th_4, hash_length)
        exporter = values["prk_exporter"] = expand(prk_out, 10, b"", hash_length)
        k_mix = bytes(32) if token is None else kmac(given["k_tok"], token, 32, b"handfast/1 mix")
        bound = sequence(device.thumbprint, hub.thumbprint, given["attempt"])
        x_root = values["x_root"] = expand(exporter, 32768, bound, hash_length)
        k_root = values["k_root"] = schedule.extract(x_root, given["r_d"] + given["r_h"] + k_mix)
        salt = expand(exporter, 32769, sequence(epoch), hash_length)
        values["traffic_secret"] = schedule.extract(salt, k_root)
    values["plaintext_4"] = ead_4
    values["frame_4"] = sequence(given["c_i"], schedule.seal(k_4, iv_4, th_4, ead_4))
    return values
