"""llama.cpp: building it, and running its programs."""
