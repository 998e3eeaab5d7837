"""Every public name of the eager side, under PyTorch's names."""

from jitgrad.eager.backward import backward as _backward  # noqa: F401  (gives tensors their method)
from jitgrad.eager.device import *
from jitgrad.eager.dtypes import bool_ as bool
from jitgrad.eager.dtypes import can_cast as can_cast
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
from jitgrad.eager.functions import cuda as cuda
from jitgrad.eager.functions import linalg as linalg
from jitgrad.eager.functions import random as random
from jitgrad.eager.functions import special as special
from jitgrad.eager.functions.arithmetic import *
from jitgrad.eager.functions.arranging import *
from jitgrad.eager.functions.attributes import *
from jitgrad.eager.functions.comparison import *
from jitgrad.eager.functions.constructors import *
from jitgrad.eager.functions.conversion import *
from jitgrad.eager.functions.counting import *
from jitgrad.eager.functions.creation import *
from jitgrad.eager.functions.diagonals import *
from jitgrad.eager.functions.differences import *
from jitgrad.eager.functions.distances import *
from jitgrad.eager.functions.factors import *
from jitgrad.eager.functions.factory import *
from jitgrad.eager.functions.in_place_functions import *
from jitgrad.eager.functions.in_place_views import *
from jitgrad.eager.functions.indexing import getitem as _getitem  # noqa: F401  (gives tensors their indexing)
from jitgrad.eager.functions.joining import *
from jitgrad.eager.functions.linalg import matrix_exp as matrix_exp
from jitgrad.eager.functions.linalg import matrix_power as matrix_power
from jitgrad.eager.functions.norms import *
from jitgrad.eager.functions.ordering import *
from jitgrad.eager.functions.overwriting import *
from jitgrad.eager.functions.pairs import *
from jitgrad.eager.functions.pointwise import *
from jitgrad.eager.functions.products import *
from jitgrad.eager.functions.random import *
from jitgrad.eager.functions.reduction import *
from jitgrad.eager.functions.running import *
from jitgrad.eager.functions.sampling import *
from jitgrad.eager.functions.scattering import *
from jitgrad.eager.functions.selection import *
from jitgrad.eager.functions.shape import *
from jitgrad.eager.functions.sharing import *
from jitgrad.eager.functions.solving import *
from jitgrad.eager.functions.special import digamma as digamma
from jitgrad.eager.functions.special import erfc as erfc
from jitgrad.eager.functions.special import erfinv as erfinv
from jitgrad.eager.functions.special import i0 as i0
from jitgrad.eager.functions.special import lgamma as lgamma
from jitgrad.eager.functions.special import mvlgamma as mvlgamma
from jitgrad.eager.functions.special import polygamma as polygamma
from jitgrad.eager.functions.strides import *
from jitgrad.eager.functions.vectors import *
from jitgrad.eager.functions.writing import *
from jitgrad.eager.modes import enable_grad as enable_grad
from jitgrad.eager.modes import inference_mode as inference_mode
from jitgrad.eager.modes import is_anomaly_check_nan_enabled as is_anomaly_check_nan_enabled
from jitgrad.eager.modes import is_anomaly_enabled as is_anomaly_enabled
from jitgrad.eager.modes import is_grad_enabled as is_grad_enabled
from jitgrad.eager.modes import is_inference_mode_enabled as is_inference_mode_enabled
from jitgrad.eager.modes import no_grad as no_grad
from jitgrad.eager.modes import set_grad_enabled as set_grad_enabled
from jitgrad.eager.printing import set_printoptions as set_printoptions
from jitgrad.eager.size import Size as Size
from jitgrad.eager.tensor import Tensor as Tensor
