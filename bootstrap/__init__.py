"""callboard: a job queue that runs as a cluster of actors."""
