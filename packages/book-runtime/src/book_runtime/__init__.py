"""What every process of Colophon needs: retry, settings, logging, telemetry, the broker connection, token verification."""
