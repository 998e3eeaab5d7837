"""The switches of recording, under the name of PyTorch's module."""

from jitgrad.eager.modes import enable_grad as enable_grad
from jitgrad.eager.modes import inference_mode as inference_mode
from jitgrad.eager.modes import no_grad as no_grad
from jitgrad.eager.modes import set_grad_enabled as set_grad_enabled
