"""The metadata of a GGUF file: name, architecture, vocabulary, chat template, ends."""
