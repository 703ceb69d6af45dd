"""guestfsd: answers the procedure calls inside the appliance.

Standard library and ``rpc`` only, blocking, one call at a time. Imports go
server → registry → handlers (one module a family) → sysroot, devices, command.
"""
