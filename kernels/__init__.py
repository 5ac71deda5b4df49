"""Small tensor operations that deserve a kernel of their own, each with its plain reference.

The rooms above call these functions; nothing here knows of models, windows or streams.
"""
