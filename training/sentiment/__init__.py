"""The embedded sentiment classifier: grammar and lexicons in, a 1 MB DistilBERT out."""
