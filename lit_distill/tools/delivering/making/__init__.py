"""Files made of a model: float32 by torch's exporter, int8 by onnxruntime."""
