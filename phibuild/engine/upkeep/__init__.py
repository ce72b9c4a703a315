"""Installed toolchains: verifying, repairing and removing them."""
