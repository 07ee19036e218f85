"""Endpoints that somebody else serves, as candidates: how to ask them, and whether their answers are the model's."""
