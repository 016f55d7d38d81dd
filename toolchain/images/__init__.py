"""Docker images with the same id everywhere, and the seam to the engine."""
