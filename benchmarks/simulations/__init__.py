"""Estimators under simulation, one module per family; `simulate.py` finds them here by themselves.

A family is a module with ``ESTIMATORS``: names, each with a function of a random generator and a number of replications
that returns figures (`figures.py`).
"""
