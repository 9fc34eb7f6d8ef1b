"""The job store on PostgreSQL: its dialect, connections, bells, errors, and how a database is opened."""
