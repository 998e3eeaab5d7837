"""Programs on NVIDIA GPUs: the driver, device arrays, and launches of grids."""
