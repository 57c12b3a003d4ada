"""Configuration groups for Hydra; the tree is installed as ``equinet.configs``."""
