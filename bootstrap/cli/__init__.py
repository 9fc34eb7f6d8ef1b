"""The commands of `callboard`."""
