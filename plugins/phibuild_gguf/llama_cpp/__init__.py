"""Building llama.cpp, and running its programs."""
