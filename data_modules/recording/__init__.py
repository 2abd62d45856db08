"""Which texts a corpus has read and which it leaves out, by hashes of them."""
