"""The personas as their owner handles them, on the pages and over the API."""
