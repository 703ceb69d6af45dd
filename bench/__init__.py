"""Measure this project against Debian's guestmount, fuse2fs and a kernel loop mount, in one run and in turn."""
