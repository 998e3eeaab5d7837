"""What programs need beside tensors: the namespace `torch.utils`, of which there is `data`."""

from jitgrad.utils import data as data
