"""The store's tables: responses, the items they read and said, and conversations.

`owner` is whose a row is: the name of an API key, or empty where none is asked for; nobody reads another's rows. An
item belongs to a response, to a conversation, or to both. `said`: the harmony messages behind an item, with their exact
ids (exact_messages.py). `beat_at`: when the process that computes a response last said that it still does. `store` has
one row, with the version of these tables; whoever changes them counts it up.
"""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Boolean, Column, Float, Index, Integer, MetaData, String, Table

LONGEST_ID = 128
VERSION = 1

metadata = MetaData()
_Id = String(LONGEST_ID)

store = Table(
    "store",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("checked_at", Float, nullable=False),
)

responses = Table(
    "responses",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("owner", String, nullable=False),
    Column("previous_id", _Id),
    Column("status", String(16), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("beat_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False, index=True),
    Column("body", JSON, nullable=False),
)

items = Table(
    "items",
    metadata,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("id", _Id, nullable=False, index=True),
    Column("owner", String, nullable=False),
    Column("response_id", _Id, index=True),
    Column("conversation_id", _Id),
    Column("is_output", Boolean, nullable=False),
    Column("call_id", _Id, index=True),
    Column("body", JSON, nullable=False),
    Column("said", JSON),
    Index("items_of_conversation", "conversation_id", "number"),
)

conversations = Table(
    "conversations",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("owner", String, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("metadata", JSON, nullable=False),
)
