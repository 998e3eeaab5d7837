"""Load compiled kernels, keep them on disk, launch them on threads, and recycle the memory of results."""
