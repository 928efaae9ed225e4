"""The embedded digit classifier: scikit-learn's digits in, a small ViT out."""
