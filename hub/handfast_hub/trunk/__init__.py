"""Trunks: what two hubs say to each other, sealed under keys from QKD mixed with ML-KEM.

policy      classes of traffic, and what each may travel under
topic_rules which class the readings of a device travel as, by rules over topics
messages    the messages of a trunk, fields to bytes and back
records     one sealed record, and the window against replay
epochs      the keys of one epoch, and how they are derived
opening     the first epoch: two hubs prove who they are
rekeying    every later epoch: make before break
lane        one end of a lane, sans-IO, with the five verbs of the core; events is what it tells
initiator   the end that begins
responder   the end that answers
kme         the client of a KME (ETSI GS QKD 014); kme_answers reads what it says
used_keys   what is remembered of every QKD key, to refuse it the second time
key_source  the keys of one trunk, out of its KME; reserve holds some ahead, supply says how long they last
carrier     what every carrier of frames does: tcp, and quic with quic_connection and quic_port
paths       which of several carriers is used
bfd         does a carrier still carry (RFC 5880), sans-IO; bfd_packet is its control packet
fec         repairs for lost datagrams, sans-IO
loss        the loss meter, sans-IO
link        one trunk: lanes over carriers, fed with keys
tasks       what goes on beside: nothing of it ends without a word
bridge      readings and commands over a link, each exactly once, in bridge_messages
flight      what is on its way to the other hub, and what of it was lost
gathering   what came of one class and waits for its turn
settings    the sections of hub.toml
trunks      all trunks of a hub, put together
"""
