"""How a trained model is measured, and how its predictions are handed in."""
