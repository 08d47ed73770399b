"""Every codepoint and every limit: first what the specification fixes, then what we chose.

Algorithm and suite numbers stand in suites.py, error codes in errors.py, topics and channels in
topics.py. Sections are those of docs/protocol.md unless a
standard is named. Changing a value of the first block makes another protocol; a value of the
second one is a decision of this program.
"""

# ---------------------------------------------------------------------------------------------
# 1 What the specification fixes
# ---------------------------------------------------------------------------------------------

# RFC 9528 section 3.2: both sides sign. The only method in production.
METHOD_SIGNATURES = 0

# EDHOC_KDF labels, RFC 9528 section 4.1.2 and 4.2.1; key update: appendix H.
KDF_KEYSTREAM_2 = 0
KDF_SALT_3E2M = 1
KDF_MAC_2 = 2
KDF_K_3 = 3
KDF_IV_3 = 4
KDF_SALT_4E3M = 5
KDF_MAC_3 = 6
KDF_PRK_OUT = 7
KDF_K_4 = 8
KDF_IV_4 = 9
KDF_PRK_EXPORTER = 10
KDF_KEY_UPDATE = 11

# EDHOC_Exporter labels, private use (RFC 9528 section 10.1), and EDHOC_Expand labels (2.6).
# Expand labels 1, 2 and 4 are reserved.
EXPORTER_X_ROOT = 32768
EXPORTER_TRAFFIC = 32769
EXPAND_DEVICE_KEY = 3
EXPAND_RECORD_KEY = 16
EXPAND_COMMON_IV = 17
EXPAND_NEXT_SECRET = 18

# Customization strings of KMAC256, the S of SP 800-185 (2.2, 2.4, 2.6).
CUSTOM_BATCH = b"handfast/1 batch"
CUSTOM_GATE_KEY = b"handfast/1 gate-key"
CUSTOM_GATE = b"handfast/1 gate"
CUSTOM_POP = b"handfast/1 pop"
CUSTOM_MIX = b"handfast/1 mix"
CUSTOM_APPLICATION = b"handfast/1 app"

# External authorization data: labels (2.4), RFC 9528 section 3.8. Negative on the wire = critical.
EAD_PADDING = 0
EAD_GATE = 65280
EAD_TOKEN = 65281
EAD_DEVINFO = 65282
EAD_ROOTC = 65283
EAD_ROOTR = 65284
EAD_STATUS = 65287

# What is inside the EAD items (2.4): their version, GATE, STATUS, DEVINFO and its entropy entry.
EAD_VERSION = 1
GATE_BY_HUB_ID = 0
GATE_BY_TOKEN = 1
WANT_KID = 0
WANT_VALUE = 1
STATUS_WAITING = 1
STATUS_REFUSED = 2
DEVINFO_FIRMWARE = 0
DEVINFO_HARDWARE = 1
DEVINFO_ENTROPY = 2
SOURCE_NONE = 0
SOURCE_QUANTUM = 1
SOURCE_OPERATING_SYSTEM = 2
SOURCE_SIMULATED = 3
HEALTH_OK = 0
HEALTH_ALARM = 1
HEALTH_NOT_RUN = 2

# COSE header parameters (RFC 9052 section 3.1; kccs: RFC 9528 section 10.6).
HEADER_ALG = 1
HEADER_KID = 4
HEADER_PARTIAL_IV = 6
HEADER_KID_CONTEXT = 10
HEADER_KCCS = 14

# COSE_Key of type AKP (RFC 9052 section 7.1, RFC 9964 section 3) and CCS (RFC 8392, RFC 8747).
KEY_KTY = 1
KEY_KID = 2
KEY_ALG = 3
KEY_PUB = -1
KTY_AKP = 7
CLAIM_SUB = 2
CLAIM_CNF = 8
CNF_COSE_KEY = 1

# First byte of a code as text (2.2).
CODE_TOKEN = 1
CODE_HUB = 2
CODE_CLAIM = 3
CODE_SHARED_TOKEN = 4

# Records (2.9): who sealed it, the context of external_aad, the plaintexts of channel 0.
SENDER_DEVICE = b"\x00"
SENDER_HUB = b"\x01"
RECORD_CONTEXT = "handfast-rec-1"
CONTROL_FIN = 0
CONTROL_ACK = 1
CONTROL_STEP = 2
CONTROL_HELLO = 3
CONTROL_REVOKED = 4

# Lengths in bytes (2.2, 2.3, 2.6).
THUMBPRINT_LENGTH = 32
KID_LENGTH = 8
TOKEN_ID_LENGTH = 8
K_TOK_LENGTH = 32
DEVICE_KEY_LENGTH = 32
GATE_MAC_LENGTH = 16
POP_LENGTH = 32
ROOT_SECRET_LENGTH = 32  # r_D, r_H, K_mix
ATTEMPT_LENGTH = 16
SID_LENGTH = 8

# Bytes; RFC 9528 section 9.3: no Signature_or_MAC is shorter.
MIN_MAC = 8

# ---------------------------------------------------------------------------------------------
# 2 What we chose
# ---------------------------------------------------------------------------------------------

# Bytes of C_I and C_R that we make (2.2); a peer's may have another length.
IDENTIFIER_LENGTH = 8

# How deep arrays and maps nest in CBOR that we read or write; the deepest of ours is 4 (a CCS).
MAX_DEPTH = 8

# Largest payloads in bytes, checked before anything is parsed (2.3).
MAX_MESSAGE_1 = 2048
MAX_MESSAGE_2 = 10240
MAX_MESSAGE_3 = 10240
MAX_MESSAGE_4 = 1024
# Items in one EAD, padding included.
MAX_EAD_ITEMS = 32
# A message with the connection identifier before it.
MAX_FRAME = 10240 + 32
# UTF-8 of the subject of a credential: an EUI-64, a UUID or a host name fits.
MAX_SUBJECT = 128
MAX_DEVINFO = 512

# Fragments (2.3): a payload in 2 to 16 parts, one reassembly at a time for at most 30 s.
MAX_FRAGMENTED = 16384
MAX_FRAGMENTS = 16
# The largest message in 16 fragments with their heads needs 700; a round number with room.
MIN_PACKET_LIMIT = 1024
REASSEMBLY_LIFETIME = 30.0
# Payload of one frame on a serial line: the longest record with its head and some room.
MAX_STREAM_PAYLOAD = 65536

# The handshake (2.3, 2.7). Seconds; each resend waits 0 to RESEND_JITTER of its delay longer.
RESEND_DELAYS = (2.0, 4.0, 8.0)
RESEND_JITTER = 0.25
SESSION_LIFETIME = 60.0
MAX_UNVERIFIED_MESSAGES = 8
MESSAGE_1_MEMORY = 600.0

# Enrolled but not yet confirmed (2.8): fin is repeated with doubling delays; method 0 again after.
FIN_DELAY = 2.0
MAX_FIN_DELAY = 300.0
ENROL_AGAIN_AFTER = 3600.0

# Records (2.9). With 13-byte nonces CCM counts a plaintext in 2 bytes, so it stays below 2^16.
MAX_PLAINTEXT = 65000
REPLAY_WINDOW = 64
SEQUENCE_BLOCK = 1024
MAX_EPOCH_RECORDS = 1 << 20
MAX_EPOCH_FAILURES = 1 << 16
OLD_EPOCH_LIFETIME = 60.0
REVOKED_NOTICE_LIFETIME = 86400.0

# A hub that came back from an old copy (2.8): how far send bounds and epochs are moved ahead.
RESTORED_BOUND_STEP = 1 << 32
RESTORED_EPOCHS_AHEAD = 64
