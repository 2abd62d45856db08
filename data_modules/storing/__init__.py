"""Token stores: texts cut into tokens once, kept in files, read through memory maps."""
