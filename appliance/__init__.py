"""The virtual machine: built from the distribution's packages, cached, launched, watched.

Building: packages → tree → kernel, initrd, root_image → build → cache → locate.
Launching: config, state, drives, accelerator, qemu_args, console → launch.
"""
