"""How a loaded model computes: equal results, sooner."""
