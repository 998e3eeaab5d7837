"""PyTorch's functions and methods of tensors, by topic."""
