"""All tables. A change here needs a migration beside it; a test compares the two on both databases.

Everything that somebody owns carries its `account_id`: the people of one shop share an account, and nobody sees
another's. Times are moments in UTC, ids are version 7 UUIDs, money is in millionths of a US dollar.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    false,
)

from admin.store.column_types import Json, Moment

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# People. An account is named by the id of the user it began with.
users = Table(
    "users",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("account_id", Uuid, nullable=False, index=True),
    Column("email", Text, unique=True),  # in lower case; None for one whom Supabase knows by telephone only
    Column("name", Text, nullable=False, default=""),
    Column("role", Text, nullable=False),
    Column("password_hash", Text),  # argon2; None for who signs in elsewhere
    Column("supabase_id", Text, unique=True),
    Column("failed_logins", Integer, nullable=False, default=0),  # since the last one that succeeded
    Column("locked_until", Moment),
    Column("disabled_at", Moment),
    Column("created_at", Moment, nullable=False),
    Column("last_login_at", Moment),
    CheckConstraint("role IN ('owner', 'manager', 'viewer')", name="role"),
)

sessions = Table(  # of the console, in a browser
    "sessions",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("user_id", Uuid, ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("token_hash", LargeBinary, nullable=False, unique=True),
    Column("csrf_token", Text, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("seen_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False, index=True),
    Column("address", Text, nullable=False, default=""),
    Column("user_agent", Text, nullable=False, default=""),
)

invitations = Table(  # one-time links with which somebody sets the password of their account
    "invitations",
    metadata,
    Column("user_id", Uuid, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("token_hash", LargeBinary, nullable=False, unique=True),
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("account_id", Uuid, nullable=False, index=True),
    Column("user_id", Uuid, ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("name", Text, nullable=False),
    Column("shown_prefix", Text, nullable=False),  # so that a person can tell two keys apart
    Column("secret_hash", LargeBinary, nullable=False, unique=True),
    Column("scopes", Json, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment),
    Column("last_used_at", Moment),
    Column("revoked_at", Moment),
)

# Who answers.
personas = Table(
    "personas",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("account_id", Uuid, nullable=False),
    Column("name", Text, nullable=False),
    Column("language", Text, nullable=False, default=""),
    Column("version", Integer, nullable=False),  # the newest one
    Column("is_active", Boolean, nullable=False, default=False, server_default=false()),
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    Index("ix_personas_account_id_updated_at", "account_id", "updated_at"),
)
Index(  # one account has one active persona at most, whoever activates two at once
    "uq_personas_active",
    personas.c.account_id,
    unique=True,
    sqlite_where=personas.c.is_active,
    postgresql_where=personas.c.is_active,
)

persona_versions = Table(
    "persona_versions",
    metadata,
    Column("persona_id", Uuid, ForeignKey("personas.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("body", Json, nullable=False),
    Column("change", Text, nullable=False),  # what made it: created, edited, restored from version 3
    Column("created_at", Moment, nullable=False),
    Column("created_by", Uuid),
)

phone_numbers = Table(
    "phone_numbers",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("account_id", Uuid, nullable=False, index=True),
    Column("number", Text, nullable=False, unique=True),  # E.164
    Column("label", Text, nullable=False, default=""),
    # None: whichever persona of the account is active.
    Column("persona_id", Uuid, ForeignKey("personas.id", ondelete="SET NULL"), index=True),
    Column("hours", Json),  # opening hours, None for always open
    Column("fallback", Json, nullable=False),  # what a caller meets outside of them
    Column("version", Integer, nullable=False, default=1),
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
)

# Calls. Their records are written by the relay's process at most 2 s late, and outlive personas, numbers and people.
calls = Table(
    "calls",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("call_sid", Text, nullable=False, unique=True),
    Column("account_id", Uuid),  # None while nobody has an account here
    Column("direction", Text, nullable=False),
    Column("caller", Text, nullable=False, default=""),
    Column("called", Text, nullable=False, default=""),
    Column("persona_id", Uuid, index=True),
    Column("persona_version", Integer),
    Column("status", Text, nullable=False),
    Column("sequence_number", Integer),  # of the last status callback that counted
    Column("stream_sid", Text, nullable=False, default=""),
    Column("process_id", Uuid, index=True),  # that carries it, or did
    Column("answered_by", Text, nullable=False, default=""),  # as answering machine detection found
    Column("created_by", Uuid),  # who had it placed, None for one that came in
    Column("variables", Json),  # facts for the persona's instructions
    Column("created_at", Moment, nullable=False),
    Column("answered_at", Moment),
    Column("ended_at", Moment),
    Column("duration_ms", Integer),
    Column("end_reason", Text, nullable=False, default=""),
    Column("outcome", Text, nullable=False, default=""),
    Column("error_code", Text, nullable=False, default=""),
    Column("barge_ins", Integer, nullable=False, default=0),
    Column("latency", Json),
    Column("usage", Json),
    Column("cost_usd_millionths", BigInteger),  # None when a price is not known
    Column("recording", Json),
    Index("ix_calls_account_id_created_at", "account_id", "created_at"),
    Index("ix_calls_status", "status"),
    CheckConstraint("direction IN ('inbound', 'outbound')", name="direction"),
)

call_events = Table(
    "call_events",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("call_id", Uuid, ForeignKey("calls.id", ondelete="CASCADE"), nullable=False),
    Column("number", Integer, nullable=False),  # within the call: its order, and what makes writing it twice harmless
    Column("at", Moment, nullable=False),
    Column("name", Text, nullable=False),
    Column("body", Json, nullable=False),
    UniqueConstraint("call_id", "number"),
)

transcript_turns = Table(
    "transcript_turns",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("call_id", Uuid, ForeignKey("calls.id", ondelete="CASCADE"), nullable=False),
    Column("number", Integer, nullable=False),  # of the event that told of it
    Column("at", Moment, nullable=False),
    Column("speaker", Text, nullable=False),
    Column("item_id", Text, nullable=False),
    Column("words", Text, nullable=False),
    Column("heard_ms", Integer),  # of what the agent said
    Column("generated_ms", Integer),
    Column("was_cut", Boolean, nullable=False, default=False),
    UniqueConstraint("call_id", "number"),
    CheckConstraint("speaker IN ('caller', 'agent')", name="speaker"),
)

processes = Table(  # that carry calls; one that is no longer seen is dead, and its calls with it
    "processes",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("started_at", Moment, nullable=False),
    Column("seen_at", Moment, nullable=False),
)

# What is to be done later, what is configured, what was done.
jobs = Table(
    "jobs",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("body", Json, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False, default=0),
    Column("run_at", Moment, nullable=False),
    Column("claimed_by", Uuid),
    Column("claimed_until", Moment),
    Column("last_error", Text, nullable=False, default=""),
    Column("created_at", Moment, nullable=False),
    Index("ix_jobs_state_run_at", "state", "run_at"),
    CheckConstraint("state IN ('waiting', 'running', 'done', 'failed')", name="state"),
)

idempotency_keys = Table(  # requests that must not be carried out twice, with the answer that was given
    "idempotency_keys",
    metadata,
    Column("account_id", Uuid, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("request_hash", LargeBinary, nullable=False),
    Column("status", Integer),  # None while the first one is under way
    Column("body", Json),
    Column("created_at", Moment, nullable=False, index=True),
)

settings = Table(
    "settings",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Json, nullable=False),
    Column("updated_at", Moment, nullable=False),
)

feature_flags = Table(
    "feature_flags",
    metadata,
    Column("name", Text, primary_key=True),
    Column("description", Text, nullable=False, default=""),
    Column("is_enabled", Boolean, nullable=False, default=False),
    Column("percentage", Integer, nullable=False, default=100),  # of users, among whom it is enabled
    Column("user_ids", Json, nullable=False),  # for whom it is on, whatever the percentage
    Column("updated_at", Moment, nullable=False),
    CheckConstraint("percentage BETWEEN 0 AND 100", name="percentage"),
)

audit_log = Table(
    "audit_log",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("at", Moment, nullable=False),
    Column("account_id", Uuid),
    Column("actor_id", Uuid),  # a user; None for the command line and for whoever was not let in
    Column("via", Text, nullable=False),  # session, api_key, supabase, command
    Column("action", Text, nullable=False),  # persona.activated, api_key.revoked
    Column("subject", Text, nullable=False, default=""),  # the id of what it was done to
    Column("facts", Json, nullable=False),
    Column("address", Text, nullable=False, default=""),
    Column("request_id", Text, nullable=False, default=""),
    Index("ix_audit_log_account_id_at", "account_id", "at"),
    Index("ix_audit_log_action_at", "action", "at"),  # how many calls were ordered within a day, by anybody
)
