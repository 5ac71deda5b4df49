"""From a loaded model to files that run without PyTorch: ONNX and TensorRT plans.

Knows the networks of `avacast.engine`; knows nothing of streaming, which meets it only through a plan file on disk.
"""
