"""Alembic's entry: run on the connection that the store hands over, inside the transaction that it began."""

from __future__ import annotations

from alembic import context

from callboard.backends.store.sql.statements import PREFIX
from callboard.backends.store.sql.versions import VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    version_table=VERSION_TABLE.replace(PREFIX, context.config.attributes.get("prefix", PREFIX)),
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
