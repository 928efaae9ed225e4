"""Where requests wait for the model, and how they share its calls."""
