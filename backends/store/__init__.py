"""Job stores: implementations of `callboard.core.ports.JobStore`."""
