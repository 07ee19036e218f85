"""The nouns, the pure decisions over them, and the shell that joins the parts."""
