"""Interfaces of other programs to equinet's models; each module needs its own optional package."""
