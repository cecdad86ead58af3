"""Compares jobws with the Socket.IO bridge that it replaces, in one run on one machine: `make bench`."""
