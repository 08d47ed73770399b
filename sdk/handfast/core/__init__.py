"""The protocol, sans-IO: no clock, socket, file or randomness of its own. Imports nothing.

Bytes and text     errors  constants  cbor  cose  codes  topics  frames  hidden
What is agreed     suites  key_schedule  credentials  messages  ead  root_key
The handshake      states  events  initiator  responder  offer  sealed_messages  resend
After it           records  replay  plaintexts  stored_session  device_session  key_cache  hub_session
Randomness         entropy  health_tests  cutoffs

Every file runs unchanged on CPython and on MicroPython; docs/dialect.md says what that asks.
"""
