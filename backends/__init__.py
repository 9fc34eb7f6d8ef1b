"""I/O: one file or folder a technology."""
