"""Disks inside disks: encryption and its keys, arrays and volumes that are not whole."""
