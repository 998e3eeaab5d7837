"""Gradients of what has been computed: PyTorch's `torch.autograd` on the tape."""

from jitgrad.autograd import anomaly_mode as anomaly_mode
from jitgrad.autograd import function as function
from jitgrad.autograd import functional as functional
from jitgrad.autograd import grad_mode as grad_mode
from jitgrad.autograd import graph as graph
from jitgrad.autograd.anomaly_mode import detect_anomaly as detect_anomaly
from jitgrad.autograd.anomaly_mode import set_detect_anomaly as set_detect_anomaly
from jitgrad.autograd.function import Function as Function
from jitgrad.autograd.gradcheck import gradcheck as gradcheck
from jitgrad.autograd.gradcheck import gradgradcheck as gradgradcheck
from jitgrad.autograd.variable import Variable as Variable
from jitgrad.eager.backward import backward as backward
from jitgrad.eager.backward import grad as grad
from jitgrad.eager.modes import enable_grad as enable_grad
from jitgrad.eager.modes import inference_mode as inference_mode
from jitgrad.eager.modes import no_grad as no_grad
from jitgrad.eager.modes import set_grad_enabled as set_grad_enabled
