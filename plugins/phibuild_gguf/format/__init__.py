"""The GGUF file format: types, header, metadata values, layout, splits."""
