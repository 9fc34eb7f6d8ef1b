"""Cluster backends: registration, locks, election, broadcast."""
