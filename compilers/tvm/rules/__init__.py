"""Operators as TE stages whose names tell the scheduler which rule made them, one file per family."""
