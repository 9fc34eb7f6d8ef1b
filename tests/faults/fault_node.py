"""A node process, started as a program's handle starts it (`callboard.handle_node`), with bugs or faults planted.

Usage: fault_node.py [PLANT ...]; the settings come on standard input. It dies with the test that started it.
"""

import ctypes
import signal
import sys

import plants

from callboard import handle_node

_PR_SET_PDEATHSIG = 1


def main():
    """Run the node; its exit code."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    for name in sys.argv[1:]:
        plants.plant(name)
    return handle_node.main()


if __name__ == "__main__":
    sys.exit(main())
