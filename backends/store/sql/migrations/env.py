"""Alembic's entry: run on the connection that is handed over, inside the transaction that it began; or only write."""

from __future__ import annotations

from alembic import context

from callboard.backends.store.sql.statements import PREFIX
from callboard.backends.store.sql.versions import VERSION_TABLE

given = context.config.attributes
versions = VERSION_TABLE.replace(PREFIX, given.get("prefix", PREFIX))
if context.is_offline_mode():
    context.configure(
        dialect_name=given["dialect"], version_table=versions, transactional_ddl=given["dialect"] != "mariadb",
        output_buffer=given["output"],
    )
else:
    context.configure(connection=given["connection"], version_table=versions, transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
