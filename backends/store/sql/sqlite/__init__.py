"""The job store on a SQLite file: its dialect, connections, turns, errors, and how a file is opened."""
