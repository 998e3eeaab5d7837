"""The layers of neural networks: the namespace `torch.nn.modules`."""

from jitgrad.nn.modules.activation import *
from jitgrad.nn.modules.container import *
from jitgrad.nn.modules.convolution import *
from jitgrad.nn.modules.dropout import *
from jitgrad.nn.modules.embedding import *
from jitgrad.nn.modules.linear import *
from jitgrad.nn.modules.loss import *
from jitgrad.nn.modules.module import Module as Module
from jitgrad.nn.modules.normalisation import *
from jitgrad.nn.modules.pooling import *
from jitgrad.nn.modules.recurrent import *
from jitgrad.nn.modules.shape import *
from jitgrad.nn.parameter import Parameter as Parameter
