"""The actors of a node, on pykka: bounded mailboxes and supervision are ours."""
