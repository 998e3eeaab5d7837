"""Kernels to machine code, one target each."""
