"""What does the work: native programs built from source, and locked Python interpreters."""
