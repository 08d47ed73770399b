"""What admits a device: made by the hub, handed out as text (codes.py), proved in message_3 (ead.py)."""

from collections import namedtuple

from handfast.core.hidden import Hidden


class Token(Hidden, namedtuple("Token", ("token_id", "k_tok", "shared"))):
    """Made by the hub: token_id 8 bytes, public once it was used; k_tok 32 bytes, secret.

    shared: whether several devices hold it.
    """

    __slots__ = ()
