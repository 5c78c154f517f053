"""Analytic estimate of hours, GPU-hours, store traffic and memory of a run on a cluster."""
