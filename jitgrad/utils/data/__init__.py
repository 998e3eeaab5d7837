"""Sets of examples, and how they come in batches: the namespace `torch.utils.data`."""

from jitgrad.utils.data.collate import default_collate as default_collate
from jitgrad.utils.data.collate import default_convert as default_convert
from jitgrad.utils.data.dataloader import DataLoader as DataLoader
from jitgrad.utils.data.dataset import ConcatDataset as ConcatDataset
from jitgrad.utils.data.dataset import Dataset as Dataset
from jitgrad.utils.data.dataset import IterableDataset as IterableDataset
from jitgrad.utils.data.dataset import Subset as Subset
from jitgrad.utils.data.dataset import TensorDataset as TensorDataset
from jitgrad.utils.data.dataset import random_split as random_split
from jitgrad.utils.data.sampler import BatchSampler as BatchSampler
from jitgrad.utils.data.sampler import RandomSampler as RandomSampler
from jitgrad.utils.data.sampler import Sampler as Sampler
from jitgrad.utils.data.sampler import SequentialSampler as SequentialSampler
from jitgrad.utils.data.sampler import SubsetRandomSampler as SubsetRandomSampler
