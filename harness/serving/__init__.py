"""The model server: a program of its own (`python -m harness.serving`), one process per candidate."""
