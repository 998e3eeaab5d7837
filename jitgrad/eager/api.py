"""Every public name of the eager side, under PyTorch's names."""

from jitgrad.eager import cuda as cuda
from jitgrad.eager import linalg as linalg
from jitgrad.eager import random as random
from jitgrad.eager import special as special
from jitgrad.eager.arithmetic import *
from jitgrad.eager.arranging import *
from jitgrad.eager.attributes import *
from jitgrad.eager.backward import backward as _backward  # noqa: F401  (gives tensors their method)
from jitgrad.eager.comparison import *
from jitgrad.eager.constructors import *
from jitgrad.eager.conversion import *
from jitgrad.eager.counting import *
from jitgrad.eager.creation import *
from jitgrad.eager.device import *
from jitgrad.eager.diagonals import *
from jitgrad.eager.differences import *
from jitgrad.eager.distances import *
from jitgrad.eager.dtypes import bool_ as bool
from jitgrad.eager.dtypes import cdouble as cdouble
from jitgrad.eager.dtypes import cfloat as cfloat
from jitgrad.eager.dtypes import complex64 as complex64
from jitgrad.eager.dtypes import complex128 as complex128
from jitgrad.eager.dtypes import double as double
from jitgrad.eager.dtypes import dtype as dtype
from jitgrad.eager.dtypes import finfo as finfo
from jitgrad.eager.dtypes import float16 as float16
from jitgrad.eager.dtypes import float32 as float32
from jitgrad.eager.dtypes import float64 as float64
from jitgrad.eager.dtypes import float_ as float
from jitgrad.eager.dtypes import get_default_dtype as get_default_dtype
from jitgrad.eager.dtypes import half as half
from jitgrad.eager.dtypes import iinfo as iinfo
from jitgrad.eager.dtypes import int8 as int8
from jitgrad.eager.dtypes import int16 as int16
from jitgrad.eager.dtypes import int32 as int32
from jitgrad.eager.dtypes import int64 as int64
from jitgrad.eager.dtypes import int_ as int
from jitgrad.eager.dtypes import long as long
from jitgrad.eager.dtypes import promote_types as promote_types
from jitgrad.eager.dtypes import set_default_dtype as set_default_dtype
from jitgrad.eager.dtypes import short as short
from jitgrad.eager.dtypes import uint8 as uint8
from jitgrad.eager.dtypes import uint16 as uint16
from jitgrad.eager.dtypes import uint32 as uint32
from jitgrad.eager.dtypes import uint64 as uint64
from jitgrad.eager.factors import *
from jitgrad.eager.factory import *
from jitgrad.eager.in_place_functions import *
from jitgrad.eager.in_place_views import *
from jitgrad.eager.indexing import getitem as _getitem  # noqa: F401  (gives tensors their indexing)
from jitgrad.eager.joining import *
from jitgrad.eager.linalg import matrix_exp as matrix_exp
from jitgrad.eager.linalg import matrix_power as matrix_power
from jitgrad.eager.modes import enable_grad as enable_grad
from jitgrad.eager.modes import inference_mode as inference_mode
from jitgrad.eager.modes import is_anomaly_check_nan_enabled as is_anomaly_check_nan_enabled
from jitgrad.eager.modes import is_anomaly_enabled as is_anomaly_enabled
from jitgrad.eager.modes import is_grad_enabled as is_grad_enabled
from jitgrad.eager.modes import is_inference_mode_enabled as is_inference_mode_enabled
from jitgrad.eager.modes import no_grad as no_grad
from jitgrad.eager.modes import set_grad_enabled as set_grad_enabled
from jitgrad.eager.norms import *
from jitgrad.eager.ordering import *
from jitgrad.eager.overwriting import *
from jitgrad.eager.pairs import *
from jitgrad.eager.pointwise import *
from jitgrad.eager.printing import set_printoptions as set_printoptions
from jitgrad.eager.products import *
from jitgrad.eager.random import *
from jitgrad.eager.reduction import *
from jitgrad.eager.running import *
from jitgrad.eager.sampling import *
from jitgrad.eager.scattering import *
from jitgrad.eager.selection import *
from jitgrad.eager.shape import *
from jitgrad.eager.sharing import *
from jitgrad.eager.size import Size as Size
from jitgrad.eager.solving import *
from jitgrad.eager.special import digamma as digamma
from jitgrad.eager.special import erfc as erfc
from jitgrad.eager.special import erfinv as erfinv
from jitgrad.eager.special import i0 as i0
from jitgrad.eager.special import lgamma as lgamma
from jitgrad.eager.special import mvlgamma as mvlgamma
from jitgrad.eager.special import polygamma as polygamma
from jitgrad.eager.strides import *
from jitgrad.eager.tensor import Tensor as Tensor
from jitgrad.eager.vectors import *
from jitgrad.eager.writing import *
