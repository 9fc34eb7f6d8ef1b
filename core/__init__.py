"""The pure part of callboard: values in, values out; no I/O, no thread, no clock, no randomness."""
