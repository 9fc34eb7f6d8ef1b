"""Become a server that ends with its test run: `launch.py PARENT UID GID SIGNAL PROGRAM ARGUMENT...`.

A program of its own, since code between fork and exec is not safe in a process with threads.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1

if __name__ == "__main__":
    parent, uid, gid, death_signal = map(int, sys.argv[1:5])
    os.umask(0o077)
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0)  # after setuid, which would clear it
        if os.getppid() != parent:
            sys.exit("the test run has ended")
    preload = os.environ.pop("LAUNCH_PRELOAD", "")
    if preload:  # for the server alone: not for this program, which is another user's
        os.environ["LD_PRELOAD"] = preload
    os.execv(sys.argv[5], sys.argv[5:])  # noqa: S606 - becoming the server is the point
