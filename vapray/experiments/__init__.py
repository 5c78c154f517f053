"""Experiments: rows of settings over seeds become one table, with the contrasts that were declared beforehand."""
