"""Steps of other libraries, and of the script that came with DistilBERT."""
