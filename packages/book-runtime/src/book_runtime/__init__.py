"""What every process needs: retry, settings, logging, telemetry, the broker connection, token verification."""
