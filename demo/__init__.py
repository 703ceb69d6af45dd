"""A demonstration: build a real guest disk, mount it, look inside, copy a tree out, unmount."""
