"""Choosing the types of tensors so that the file has a given size."""
