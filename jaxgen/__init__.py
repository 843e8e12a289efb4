"""jaxgen: the classic image-generating systems in JAX, faithful to their papers."""

__version__ = "0.1.0"
