"""Key feeds: the QKD-backed keys of a trunk, handed to what else wants keys at both of its ends.

settings     the sections of hub.toml: `[feed.NAME]`
keys         one key for one feed, out of an epoch of a trunk
feeder       one feed: the newest key to its consumer, tried again, closed when it has to be
feeds        all feeds of a hub, put together
worker       one blocking call at a time
wireguard    the preshared key of a peer of a WireGuard interface
strongswan   a post-quantum preshared key (RFC 8784) for strongSwan, over vici
pkcs11       a secret key object in a PKCS#11 token
"""
