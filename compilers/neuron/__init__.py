"""AWS Inferentia and Trainium: which operators their compilers take, and whether a compiler is really here."""
