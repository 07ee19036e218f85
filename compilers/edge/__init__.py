"""A model as a bundle: a folder that runs on a bare Linux with its own small runtime, without TVM or Python packages.

    Relax main of scheduled kernels -> graph -> plan (memory) -> model.cpp + kernels.o + runtime.cpp -> libmodel.so

graph      what Relax's main calls, in order (reads TVM's objects)
plan       where every tensor lies; pure
emit       the plan as C++ tables; pure
toolchain  what compiles and links for a target, and what runs its programs here
bundle     the folder: library, runner, loader, header, payloads to check with, manifest
session    a bundle in use: in this process, under an emulator, or on a device over TVM's RPC
runtime/   the C++ and the Python that go into every bundle
"""
