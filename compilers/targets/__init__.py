"""What a model can be compiled for: named hardware as data, and the rules from a name and options to one resolved `Target`.

noun       the value, and how TVM and a cache key spell it
table      targets.toml, read: systems, CPUs, GPUs and devices
isa        lanes, registers and precisions from LLVM's features (llvm.json)
host       this machine
options    Neo's CompilerOptions and ours, applied
resolve    all of it: what a user says → Target
reach      what can be built and run from here, and what it would take
"""

from compilers.targets.noun import Gpu, Target, identity, tvm_target
from compilers.targets.options import check_inputs
from compilers.targets.resolve import HOST, resolve

__all__ = ["HOST", "Gpu", "Target", "check_inputs", "identity", "resolve", "tvm_target"]
