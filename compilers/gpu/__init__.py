"""A model as code for one NVIDIA GPU, compiled whether or not such a GPU is here.

toolkit   CUDA's compiler, from the PATH or from PyPI: CUDA C++ in, cubin and PTX out
cubin     what a cubin holds: the architecture it is for, and its kernels
session   the artifact on a GPU of this machine, where there is one
"""
