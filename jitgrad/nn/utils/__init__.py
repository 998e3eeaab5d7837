"""What is done to all parameters of a model: the namespace `torch.nn.utils`."""

from jitgrad.nn.utils.clip_grad import clip_grad_norm_ as clip_grad_norm_
from jitgrad.nn.utils.clip_grad import clip_grad_value_ as clip_grad_value_
from jitgrad.nn.utils.clip_grad import get_total_norm as get_total_norm
from jitgrad.nn.utils.convert_parameters import parameters_to_vector as parameters_to_vector
from jitgrad.nn.utils.convert_parameters import vector_to_parameters as vector_to_parameters
