"""The tables of the registry. One word means one thing here, in the code and in the documents.

Times are seconds since 1970 as floats, identifiers are bytes, `sealed_…` columns are sealed by
the vault. Nothing here is particular to one database: what is, stands in `engine.py`.
A change of a table needs a migration in `migrations/versions`; a test compares the two.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite counts rows by itself only when the column is exactly INTEGER.
RowId = BigInteger().with_variant(Integer, "sqlite")

# States of a device. WAITING: asked, and an operator has to decide. ADMITTED: an operator lets it in.
# JOINING: has a pending key by a token and sent no record yet. ONBOARDED: holds an active key.
WAITING = "waiting"
ADMITTED = "admitted"
JOINING = "joining"
ONBOARDED = "onboarded"
REVOKED = "revoked"
REFUSED = "refused"
DEVICE_STATES = (WAITING, ADMITTED, JOINING, ONBOARDED, REVOKED, REFUSED)
# What no key is given to and no record is taken from.
SHUT_OUT = (REVOKED, REFUSED)

# States of a command. QUEUED: never left the hub. SENT: a record of it was made and may have left; it
# may be carried out, or have been, and the same record goes out again; one that is `repeatable` is sealed
# anew when its device has left the epoch of that record. The rest are final. ANSWERED: by
# its device. EXPIRED: it never left. UNANSWERED: it expired after it was sent, so nobody knows; an
# answer that comes late still counts.
QUEUED = "queued"
SENT = "sent"
ANSWERED = "answered"
EXPIRED = "expired"
UNANSWERED = "unanswered"
COMMAND_STATES = (QUEUED, SENT, ANSWERED, EXPIRED, UNANSWERED)

# Exactly one row, id 1: who this hub is, and its own counters.
hub = Table(
    "hub",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("name", String(64), nullable=False),
    Column("hub_id", LargeBinary(32), nullable=False),
    Column("credential", LargeBinary, nullable=False),
    Column("sealed_seed", LargeBinary, nullable=False),
    # R1: half-open sessions are numbered; this is the first number that no process has reserved.
    Column("born_next", BigInteger, nullable=False),
    # How often this database was restored from a copy, for the audit log and the operator.
    Column("restores", Integer, nullable=False),
    Column("created_at", Double, nullable=False),
)

devices = Table(
    "devices",
    metadata,
    # What other tables refer to: it grows, so that their rows lie in the order of enrolment and a
    # group commit touches few pages. Random keys cost an enrolment a third more.
    Column("id", RowId, primary_key=True),
    # Kept for the life of the thumbprint; random, chosen when the hub first hears of the device.
    Column("device_id", LargeBinary(8), nullable=False),
    # A device that sends its kid is found as the range of thumbprints that begin with it.
    Column("thumbprint", LargeBinary(32), nullable=False),
    Column("state", String(16), nullable=False),
    Column("label", String(128), nullable=False),
    # Why the state is what it is, in words for the operator.
    Column("reason", String(256), nullable=False),
    # Ring.highest_epoch, -1 at first, and Ring.lookahead, 1 unless the database was restored.
    Column("highest_epoch", Integer, nullable=False),
    Column("lookahead", Integer, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("onboarded_at", Double),
    Column("seen_at", Double),
    # The DEVINFO map as it came (CBOR), or null.
    Column("devinfo", LargeBinary),
    # The CCS as it came; null for a device that an operator announced by its claim code. Last,
    # because two kilobytes stand in the way of what comes after them.
    Column("credential", LargeBinary),
    UniqueConstraint("thumbprint"),
    UniqueConstraint("device_id"),
)
# Strangers make these rows, so they are counted and bounded; an index over the others would cost
# every enrolment two writes.
Index(
    "ix_devices_waiting",
    devices.c.created_at,
    sqlite_where=devices.c.state == WAITING,
    postgresql_where=devices.c.state == WAITING,
)

# Pending and active keys: the rings of handfast.core.hub_session.
keys = Table(
    "keys",
    metadata,
    Column("device", RowId, ForeignKey("devices.id"), primary_key=True, autoincrement=False),
    Column("attempt", LargeBinary(16), primary_key=True),
    # 1 for the active key, 0 for a pending one.
    Column("active", Integer, nullable=False),
    Column("born", BigInteger, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("suite", Integer, nullable=False),
    # T_epoch, with AAD dev_tp || attempt || epoch as 2 bytes.
    Column("sealed_secret", LargeBinary, nullable=False),
    Column("send_base", BigInteger, nullable=False),
    # The first PIV that is not reserved.
    Column("send_bound", BigInteger, nullable=False),
    # The replay window of `epoch`; all that changes with every record.
    Column("window", LargeBinary(40), nullable=False),
    # The receive key of the epoch before, or null; AAD dev_tp || attempt || "previous".
    Column("sealed_previous", LargeBinary),
    Column("failures", Integer, nullable=False),
    # K_root, with AAD dev_tp || attempt.
    Column("sealed_root", LargeBinary, nullable=False),
    # R5: the session and the message that a pending key answers, and the answer.
    Column("c_r", LargeBinary(8)),
    Column("message_3_hash", LargeBinary(32)),
    Column("message_4", LargeBinary),
    # The token that admitted this key, or null.
    Column("token_id", LargeBinary(8)),
    Column("created_at", Double, nullable=False),
    sqlite_with_rowid=False,
)

batches = Table(
    "batches",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("label", String(128), nullable=False),
    # K_batch, with AAD "batch" || the 16 bytes of `seal_id`.
    Column("seal_id", LargeBinary(16), nullable=False),
    Column("sealed_k_batch", LargeBinary, nullable=False),
    Column("created_at", Double, nullable=False),
)

tokens = Table(
    "tokens",
    metadata,
    Column("token_id", LargeBinary(8), primary_key=True),
    # Null when K_tok is derived from the batch.
    Column("batch", RowId, ForeignKey("batches.id")),
    # K_tok, with AAD "token" || token_id; null for a token of a batch.
    Column("sealed_k_tok", LargeBinary),
    Column("label", String(128), nullable=False),
    # How many devices may use it. 1 is a single token, the only kind that enters a key (K_mix).
    Column("quota", Integer, nullable=False),
    # How many devices it is bound to; for a shared token the next slot of `bindings`.
    Column("used", Integer, nullable=False),
    Column("shared", Integer, nullable=False),
    # R6. The one device that a single token is bound to, and when its key was promoted.
    Column("thumbprint", LargeBinary(32)),
    Column("consumed_at", Double),
    Column("expires_at", Double, nullable=False),
    # Set when an operator takes the token back.
    Column("withdrawn_at", Double),
    Column("created_at", Double, nullable=False),
)

# R6 for shared tokens: slots 0 .. quota-1; the primary key makes a second use of a slot impossible.
bindings = Table(
    "bindings",
    metadata,
    Column("token_id", LargeBinary(8), ForeignKey("tokens.token_id"), primary_key=True),
    Column("slot", Integer, primary_key=True, autoincrement=False),
    Column("thumbprint", LargeBinary(32), nullable=False),
    Column("bound_at", Double, nullable=False),
    UniqueConstraint("token_id", "thumbprint"),
)

# What devices sent, in the order of delivery; the oldest rows are dropped.
readings = Table(
    "readings",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("device", RowId, ForeignKey("devices.id"), nullable=False),
    Column("channel", Integer, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("piv", BigInteger, nullable=False),
    Column("data", LargeBinary, nullable=False),
    Column("received_at", Double, nullable=False),
    # Its class on every trunk (trunk_classes.py); null for what an older version recorded.
    Column("classes", BigInteger),
    sqlite_autoincrement=True,
)

commands = Table(
    "commands",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("device", RowId, ForeignKey("devices.id"), nullable=False),
    Column("state", String(16), nullable=False),
    Column("data", LargeBinary, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
    # Under which record it went out; the answer names both.
    Column("epoch", Integer),
    Column("piv", BigInteger),
    Column("sent_at", Double),
    # What came back: a status of handfast.core.plaintexts and the data.
    Column("status", Integer),
    Column("answer", LargeBinary),
    Column("answered_at", Double),
    # The sealed record while the command is SENT: only these very bytes may go out again.
    Column("record", LargeBinary),
    # 1: to carry it out twice is as good as once, so it may have another record in another epoch.
    Column("repeatable", Integer, nullable=False, server_default="0"),
    Index(None, "state", "device"),
    sqlite_autoincrement=True,
)

# The sealed [4, reason] of a revoked device, resent for each record that still arrives.
farewells = Table(
    "farewells",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("device", RowId, ForeignKey("devices.id"), nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("record", LargeBinary, nullable=False),
    Column("expires_at", Double, nullable=False),
    Index(None, "device"),
)

# The audit log, and how one process tells another what it did.
events = Table(
    "events",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("at", Double, nullable=False),
    Column("kind", String(32), nullable=False),
    # The device it is about, or null.
    Column("thumbprint", LargeBinary(32)),
    Column("detail", String(256), nullable=False),
    sqlite_autoincrement=True,
)

# One hub process per hub key.
lease = Table(
    "lease",
    metadata,
    Column("hub_id", LargeBinary(32), primary_key=True),
    Column("holder", String(128), nullable=False),
    Column("expires_at", Double, nullable=False),
)

# One row for each restore from a copy: readings with numbers above `after` belong to the life `name`.
trunk_lives = Table(
    "trunk_lives",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("name", Integer, nullable=False),
    Column("after", BigInteger, nullable=False),
    Column("at", Double, nullable=False),
    sqlite_autoincrement=True,
)

# Which hub is at the other end of each trunk: the cursors of a trunk mean nothing to another hub.
trunk_peers = Table(
    "trunk_peers",
    metadata,
    Column("trunk", String(63), primary_key=True),
    Column("hub_id", LargeBinary(32), nullable=False),
)

# Where in `readings.classes` a trunk has its two bits.
trunk_slots = Table(
    "trunk_slots",
    metadata,
    Column("trunk", String(63), primary_key=True),
    Column("slot", Integer, nullable=False),
    UniqueConstraint("slot"),
)

# How far each class of a trunk has come: the number of the last reading that the other hub has
# acknowledged, and behind which one the stream began.
trunk_sent = Table(
    "trunk_sent",
    metadata,
    Column("trunk", String(63), primary_key=True),
    Column("kind", Integer, primary_key=True, autoincrement=False),
    Column("acked", BigInteger, nullable=False),
    Column("began", BigInteger, nullable=False, server_default="0"),
)

# The same for what comes: the number of the last reading of the other hub that was taken, in each of
# that hub's lives.
trunk_taken = Table(
    "trunk_taken",
    metadata,
    Column("trunk", String(63), primary_key=True),
    Column("kind", Integer, primary_key=True, autoincrement=False),
    Column("life", Integer, primary_key=True, autoincrement=False),
    Column("number", BigInteger, nullable=False),
)

# Readings of other hubs' devices, in the order of arrival; the oldest rows are dropped.
trunk_readings = Table(
    "trunk_readings",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("trunk", String(63), nullable=False),
    Column("kind", Integer, nullable=False),
    # 1 when it travelled under an epoch without a QKD key.
    Column("degraded", Integer, nullable=False),
    Column("device_id", LargeBinary(8), nullable=False),
    Column("label", String(128), nullable=False),
    Column("channel", Integer, nullable=False),
    Column("data", LargeBinary, nullable=False),
    # By the clock of the other hub, and by ours.
    Column("received_at", Double, nullable=False),
    Column("arrived_at", Double, nullable=False),
    sqlite_autoincrement=True,
)

# Commands that came over a trunk, by the id that the other hub gave them: each is queued once.
trunk_commands = Table(
    "trunk_commands",
    metadata,
    Column("command_id", LargeBinary(16), primary_key=True),
    Column("trunk", String(63), nullable=False),
    Column("command", BigInteger, nullable=False),
    Column("expires_at", Double, nullable=False),
)

# What the serving hub says of its trunks, for `handfast-hub trunk status`.
trunk_status = Table(
    "trunk_status",
    metadata,
    Column("trunk", String(63), primary_key=True),
    Column("status", String, nullable=False),
    Column("at", Double, nullable=False),
)
