"""Measurements that are repeated and kept: latency, throughput, quality.

Each benchmark prints what it measured with the commit and the hardware, and asserts nothing.
"""
