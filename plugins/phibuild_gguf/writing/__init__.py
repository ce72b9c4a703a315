"""Planning and writing the files of a GGUF artifact."""
