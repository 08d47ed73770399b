"""The identity of a device with little memory: its credential, two kilobytes, is read when it is needed."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from handfast.core.credentials import Credential
    from handfast.ports import Host


class StoredIdentity:
    """What an Identity is to an Initiator, without holding the credential."""

    def __init__(self, host: "Host") -> None:
        """Errors as `identity.load`."""
        # Not at the top: it is let go in between.
        from handfast.identity import load

        self._host = host
        self.seed: bytes = load(host.crypto, host.keystore).seed

    @property
    def credential(self) -> "Credential":
        """Read from the keystore each time; LocalError and KeystoreError."""
        # What verified message_2 makes room for it.
        passed = getattr(self._host, "passed", None)
        if passed is not None:
            passed("message_2")
        from handfast.identity import load

        own = load(self._host.crypto, self._host.keystore)
        credential: "Credential" = own.credential
        return credential
