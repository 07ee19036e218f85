"""A model's ONNX graph made into native CPU code with Apache TVM: blocked layouts, packed weights, deterministic schedules.

    onnx -> frontend -> rewrites -> layouts -> rules (TE) -> FuseOps -> schedules -> LLVM

`pipeline.compile_module` joins the steps. No search: the tile of every kernel follows from its shape and the target's table.
"""
