"""Model in, artifact out: one file per backend behind one interface, and the parity check."""
