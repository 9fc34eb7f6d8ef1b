"""The job store on MariaDB: its dialect, connections, bells, errors, and how a database is opened."""
