"""The functions of neural networks: the namespace `torch.nn.functional`."""

from jitgrad.nn.activations import *  # noqa: F403
from jitgrad.nn.classification import *  # noqa: F403
from jitgrad.nn.convolution import *  # noqa: F403
from jitgrad.nn.distances import *  # noqa: F403
from jitgrad.nn.dropout import *  # noqa: F403
from jitgrad.nn.linear import *  # noqa: F403
from jitgrad.nn.losses import *  # noqa: F403
from jitgrad.nn.margins import *  # noqa: F403
from jitgrad.nn.normalisation import *  # noqa: F403
from jitgrad.nn.padding import *  # noqa: F403
from jitgrad.nn.pooling import *  # noqa: F403
from jitgrad.nn.softmax import *  # noqa: F403
