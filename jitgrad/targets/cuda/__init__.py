"""Kernels for NVIDIA GPUs: threads share the loops of the same emitted text, LLVM makes PTX of it."""
