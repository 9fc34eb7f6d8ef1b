"""Executors: what runs the jobs of a pool in child processes."""
