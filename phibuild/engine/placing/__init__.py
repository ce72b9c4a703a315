"""What lies in place: artifacts and their manifests, replacing and removing them."""
