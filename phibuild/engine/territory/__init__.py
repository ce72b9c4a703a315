"""Which places targets claim, and which places no target may touch."""
