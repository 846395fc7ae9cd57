"""One pure file per protocol: how it spells commands and outcomes."""
