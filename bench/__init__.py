"""Measures tusplyr beside its peers, in turn, on the same machine in the same hour. Not part of the package."""
