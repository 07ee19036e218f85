"""Loadstone's generator and capacity search beside other load tools, against servers whose truth is known.

Every tool, ours included, is a process of its own on the client's core that reads its task from a JSON file.
"""
