"""The tensors of a GGUF file: where a checkpoint has them, and what recipe and imatrix demand."""
