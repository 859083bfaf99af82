"""What stands between the service and code that runs in an env: a tree of three processes that only this package knows.

keeper (launch)   outside, a child of the service: limits, clock, memory watch; kills everything when the service dies
init (init)       process 1 of a PID namespace: makes the root file system and the network, collects orphans
program (program) gives up every right, then becomes the interpreter of the env

Started as ``python -I -S -c BOOT``, with no site-packages and without the packages above this one, which keeps a run
some tens of milliseconds long. Our own launcher and not unshare(1) with setpriv(1): the minimal root, the order of
mounts, limits and rights, the report of what failed and the descriptors of the code would be a shell script of its
own, and Python 3.11 calls the kernel just as well. Standard library only, here: dataclasses, pathlib and subprocess
cost more time to import than the launch takes.
"""
