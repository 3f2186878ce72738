"""In the place of BitBake's own module; see the package."""
