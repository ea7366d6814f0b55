"""The page, the API behind it, and the watch that keeps calls alive."""
