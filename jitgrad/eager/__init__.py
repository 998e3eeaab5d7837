"""The eager side: tensors that compute at once and record what their gradients need."""
