"""Tools for developers of phibuild: lock files, reference pages."""
