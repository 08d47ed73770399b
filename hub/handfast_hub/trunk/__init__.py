"""Trunks: what two hubs say to each other, sealed under keys from QKD mixed with ML-KEM.

policy     classes of traffic, and what each may travel under
messages   the messages of a trunk, fields to bytes and back
epochs     the keys of one epoch, and how they are derived
records    one sealed record, and the window against replay
opening    the first epoch: two hubs prove who they are
rekeying   every later epoch: make before break
lane       one end of a lane, sans-IO, with the five verbs of the core
initiator  the end that begins
responder  the end that answers
"""
