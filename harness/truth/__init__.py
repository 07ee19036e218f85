"""A server that answers after a known law, so that whatever measures it can be checked against what is true."""
