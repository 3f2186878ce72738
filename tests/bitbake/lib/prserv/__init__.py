"""In the place of BitBake's own module, which PyPI's package lacks: builds in tests number no revisions."""
