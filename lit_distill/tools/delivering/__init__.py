"""Models as ONNX files, which a gate compares with what they were made of, in every language."""
