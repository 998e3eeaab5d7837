"""The op table: every operation of the library, declared once."""

from jitgrad.ops import elementwise as elementwise
from jitgrad.ops import linear as linear
from jitgrad.ops import reductions as reductions
from jitgrad.ops import structure as structure
from jitgrad.ops.table import COMPOSITES as COMPOSITES
from jitgrad.ops.table import NUMPY as NUMPY
from jitgrad.ops.table import OPS as OPS
