"""`crypto`: the Crypto port for tests on either interpreter, so that no test asks where it runs.

On CPython everything is computed by handfast_cpython. On MicroPython the symmetric half is computed by
handfast_micropython, and KEM and signature calls are replayed: after a change of a test that makes
such calls, `make record` keeps the new ones.
"""

import sys

from replay_crypto import RecordingCrypto, ReplayCrypto

_FOLDER, _SLASH, _ = __file__.rpartition("/")
REPLAY = (_FOLDER + _SLASH or "./") + "../vectors/replay"

if sys.implementation.name == "micropython":
    from handfast_micropython.crypto import Crypto

    crypto = ReplayCrypto(Crypto(), REPLAY)
else:
    from handfast_cpython.crypto import Crypto

    crypto = RecordingCrypto(Crypto(), REPLAY)
