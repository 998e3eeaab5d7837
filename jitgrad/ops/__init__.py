"""The op table: every operation of the library, declared once."""

from jitgrad.ops import activation as activation
from jitgrad.ops import algebra as algebra
from jitgrad.ops import arrange as arrange
from jitgrad.ops import creation as creation
from jitgrad.ops import decompositions as decompositions
from jitgrad.ops import distances as distances
from jitgrad.ops import einsum as einsum
from jitgrad.ops import elementwise as elementwise
from jitgrad.ops import estimates as estimates
from jitgrad.ops import indexing as indexing
from jitgrad.ops import linear as linear
from jitgrad.ops import matrices as matrices
from jitgrad.ops import pointwise as pointwise
from jitgrad.ops import ranks as ranks
from jitgrad.ops import reductions as reductions
from jitgrad.ops import scans as scans
from jitgrad.ops import scatter as scatter
from jitgrad.ops import sequences as sequences
from jitgrad.ops import shape as shape
from jitgrad.ops import special as special
from jitgrad.ops import statistics as statistics
from jitgrad.ops import structure as structure
from jitgrad.ops.table import COMPOSITES as COMPOSITES
from jitgrad.ops.table import NUMPY as NUMPY
from jitgrad.ops.table import OPS as OPS
