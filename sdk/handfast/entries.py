"""Under which names a keystore holds what a device must not lose in a power cut."""

# Who the device is: its key and its credential.
IDENTITY = "identity"
# Which hub it trusts, and the token until that hub has used it.
HUB = "hub"
# What the last enrolment gave, and how far it was used.
SESSION = "session"
# That the hub said no.
REFUSED = "refused"
