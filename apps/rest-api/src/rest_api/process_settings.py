"""What the REST service and the relay are both told by their environment."""

from book_runtime.logs import LogSettings
from book_runtime.settings import Port


class ProcessSettings(LogSettings):
    """What is seen of a process from outside."""

    metrics_port: Port | None = None
    """The TCP port for Prometheus; without it no metrics are served."""
