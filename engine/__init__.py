"""Audio in, RGB frames out: the networks, the streaming loop around them and the models on disk.

No clocks, sockets or threads here; those are the business of `avacast.streaming`.
"""
