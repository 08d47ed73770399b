"""`crypto`: the Crypto port for tests on either interpreter, so that no test asks where it runs.

Every call is computed by the machine's own port, handfast_cpython or handfast_micropython. Only where
MicroPython has no machine code are KEM and signature calls replayed, for signing takes seconds in
bytecode: after a change of a test that makes such calls, `make record` keeps the new ones.
"""

import sys

from replay_crypto import RecordingCrypto, ReplayCrypto

_FOLDER, _SLASH, _ = __file__.rpartition("/")
REPLAY = (_FOLDER + _SLASH or "./") + "../vectors/replay"

if sys.implementation.name == "micropython":
    from handfast_micropython.crypto import Crypto

    crypto = Crypto()
    if crypto.name.endswith("bytecode"):
        crypto = ReplayCrypto(crypto, REPLAY)
else:
    from handfast_cpython.crypto import Crypto

    crypto = RecordingCrypto(Crypto(), REPLAY)
