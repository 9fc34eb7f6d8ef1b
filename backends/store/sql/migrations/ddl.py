"""What the versions share: their statements in the dialect at hand, with the tables named as the options say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alembic import context, op

from callboard.backends.store.sql.statements import PREFIX

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def run(statements: Mapping[str, Sequence[str]]) -> None:
    """Run a version's statements for the dialect at hand; colons in them are no parameters."""
    prefix = context.config.attributes.get("prefix", PREFIX)
    for statement in statements[context.get_context().dialect.name]:
        op.execute(statement.replace(PREFIX, prefix).replace(":", r"\:"))
