"""phibuild: quantized Phi models as build targets."""

__version__ = "0.1.0"
